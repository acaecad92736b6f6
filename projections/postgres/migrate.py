"""Ordered SQL files, each applied once; safe when two processes start at once."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import NamedTuple

from projections.postgres.pool import Pool, acquire

#: One key for all who migrate this database, so that they take turns.
_LOCK_KEY = 0x73_74_72_65_61_6D


class MigrationChanged(Exception):
    """A migration that has been applied is not the one in the code any more."""


class Migration(NamedTuple):
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All migrations in the order of their names."""
    folder = files("projections.postgres") / "migrations"
    found = [path for path in folder.iterdir() if path.name.endswith(".sql")]
    return [Migration(path.name, path.read_text()) for path in sorted(found, key=lambda p: p.name)]


async def migrate(pool: Pool) -> list[str]:
    """Apply what is missing; returns the names of what was applied.

    Raises:
        MigrationChanged: an applied file has been edited; write a new one instead.
    """
    async with acquire(pool) as connection, connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK_KEY)
        await connection.execute(
            "create table if not exists migrations (name text primary key,"
            " checksum text not null, applied_at timestamptz not null default now())"
        )
        rows = await connection.fetch("select name, checksum from migrations")
        applied = {row["name"]: row["checksum"] for row in rows}
        fresh = []
        for migration in migrations():
            if migration.name not in applied:
                await connection.execute(migration.sql)
                await connection.execute(
                    "insert into migrations (name, checksum) values ($1, $2)",
                    migration.name,
                    migration.checksum,
                )
                fresh.append(migration.name)
            elif applied[migration.name] != migration.checksum:
                raise MigrationChanged(
                    f"{migration.name} was applied with other contents;"
                    " restore it and put the change into a new file"
                )
        return fresh

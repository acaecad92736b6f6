"""Ordered SQL files, applied once and safe to apply twice.

ClickHouse has neither transactions around DDL nor locks, so every statement must be harmless when
repeated (``if not exists`` and the like): two processes that start at once both run it, and the
list of applied files gets one row, because both send it with the same token.

The same files make tables of one node and, given a cluster's name, replicated tables with a
distributed one before them:

- ``@table(events)`` is ``events``; on a cluster ``events_local on cluster 'NAME'``;
- ``@engine(MergeTree)`` is ``MergeTree``; on a cluster ``ReplicatedMergeTree``;
- ``@window`` is how many inserts a table remembers, so that it drops a repeated one;
- ``@distributed(events, KEY);`` is nothing; on a cluster the table ``events`` over all shards;
- ``@on_cluster`` is nothing; on a cluster ``on cluster 'NAME'``.
"""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from typing import NamedTuple

from projections.clickhouse.client import Client, translated

#: Inserts that a table remembers. A flush adds one for each month of event time that it touches;
#: at four flushes a second into one month this is 40 minutes, and a retry takes seconds.
REMEMBERED_INSERTS_MAX = 10_000

_MARK = re.compile(r"@(table|engine|distributed)\(([^;]*?)\)(?=[\s;])|@(window|on_cluster)\b")


class MigrationChanged(Exception):
    """A migration that has been applied is not the one in the code any more."""


class Migration(NamedTuple):
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self, cluster: str | None = None) -> list[str]:
        """The file's statements for one node, or for a cluster."""
        text = re.sub(r"^--.*\n", "", self.sql, flags=re.MULTILINE)
        text = _MARK.sub(lambda mark: _form(mark, cluster), text)
        return [part.strip() for part in _split(text) if part.strip()]


def migrations() -> list[Migration]:
    """All migrations in the order of their names."""
    folder = files("projections.clickhouse") / "migrations"
    found = [path for path in folder.iterdir() if path.name.endswith(".sql")]
    return [Migration(path.name, path.read_text()) for path in sorted(found, key=lambda p: p.name)]


async def migrate(client: Client, cluster: str | None = None) -> list[str]:
    """Apply what is missing; returns the names of what was applied.

    Args:
        client: connected to the database that gets the tables.
        cluster: its name, if the tables are to be replicated and distributed.

    Raises:
        MigrationChanged: an applied file has been edited; write a new one instead.
        Unavailable: the server does not answer.
    """
    async with translated():
        for statement in Migration("", _LIST).statements(cluster):
            await client.command(statement)
        result = await client.query("select name, checksum from migrations")
        applied = dict(result.result_rows)
        fresh = []
        for migration in migrations():
            if migration.name not in applied:
                for statement in migration.statements(cluster):
                    await client.command(statement)
                await _record(client, migration)
                fresh.append(migration.name)
            elif applied[migration.name] != migration.checksum:
                raise MigrationChanged(
                    f"{migration.name} was applied in another form; write a new migration instead"
                )
    return fresh


_LIST = """
create table if not exists @table(migrations) (
    name String comment 'File',
    checksum String comment 'SHA-256 of the file as it was applied',
    applied_at DateTime64(3, 'UTC') default now64(3) comment 'When'
) engine = @engine(MergeTree) order by name settings @window
comment 'Migrations applied to this database';
@distributed(migrations, cityHash64(name));
"""


async def _record(client: Client, migration: Migration) -> None:
    await client.insert(
        "migrations",
        [[migration.name, migration.checksum]],
        column_names=["name", "checksum"],
        column_type_names=["String", "String"],
        settings={"insert_deduplication_token": migration.name, "async_insert": 0},
    )


def _split(text: str) -> list[str]:
    """Statements end with a semicolon; one inside quotes is text."""
    return re.findall(r"(?:[^;']|'(?:[^'\\]|\\.|'')*')+", text)


def _form(mark: re.Match[str], cluster: str | None) -> str:
    kind, argument = mark[1] or mark[3], mark[2]
    if kind == "window":
        return (
            f"non_replicated_deduplication_window = {REMEMBERED_INSERTS_MAX}"
            if cluster is None
            else f"replicated_deduplication_window = {REMEMBERED_INSERTS_MAX}"
        )
    if cluster is None:
        return "" if kind in ("distributed", "on_cluster") else argument
    if kind == "table":
        return f"{argument}_local on cluster '{cluster}'"
    if kind == "engine":
        return f"Replicated{argument}"
    if kind == "on_cluster":
        return f"on cluster '{cluster}'"
    name, key = argument.split(",", 1)
    return (
        f"create table if not exists {name} on cluster '{cluster}' as {name}_local"
        f" engine = Distributed('{cluster}', currentDatabase(), {name}_local, {key.strip()})"
    )

"""What is known of the projections: versions, positions, sizes, rebuilds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from projections.batch import Partition
from projections.postgres import queries
from projections.postgres.pool import Connection, Pool, acquire
from projections.postgres.rebuild import old_schema_of, schema_of

_sql = queries.load("projections.postgres", "overview.sql")


class Size(NamedTuple):
    """Of tables: rows (in PostgreSQL as the last statistics have them), and bytes."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class UnderWay:
    """A rebuild; ``running`` False if it was interrupted and can be continued."""

    version: int
    began_at: datetime
    running: bool
    positions: Mapping[Partition, int]


@dataclass
class Known:
    """What the database says of one projection; ``version`` None if no worker ever took it."""

    name: str
    version: int | None = None
    rebuilt_at: datetime | None = None
    swapping: bool = False
    positions: dict[Partition, int] = field(default_factory=dict)
    rebuild: UnderWay | None = None
    size: Size | None = None
    old: Size | None = None


async def overview(pool: Pool, tables: Mapping[str, Sequence[str]]) -> dict[str, Known]:
    """All projections of ``tables`` (by name, with their tables) and those that have checkpoints.

    Raises:
        Unavailable: the database does not answer.
    """
    known = {name: Known(name) for name in tables}
    async with acquire(pool) as connection:
        for row in await connection.fetch(_sql["positions"]):
            found = known.setdefault(row["projection"], Known(row["projection"]))
            found.positions[Partition(row["topic"], row["partition"])] = row["next_offset"]
        for row in await connection.fetch(_sql["versions"]):
            found = known.setdefault(row["name"], Known(row["name"]))
            found.version, found.rebuilt_at = row["version"], row["rebuilt_at"]
            found.swapping = row["swapping"]
        for row in await connection.fetch(_sql["rebuilds"]):
            found = known.setdefault(row["name"], Known(row["name"]))
            found.rebuild = UnderWay(
                row["version"],
                row["began_at"],
                row["running"],
                await _new_positions(connection, row["name"]),
            )
        for name, names in tables.items():
            if names:
                known[name].size = await _size(connection, "public", names)
                old = await _size(connection, old_schema_of(name), None)
                known[name].old = old if old.bytes else None
    return known


async def _new_positions(connection: Connection, name: str) -> dict[Partition, int]:
    sql = _sql["new_positions"].replace("{schema}", schema_of(name))
    rows = await connection.fetch(sql, name)
    return {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def _size(connection: Connection, schema: str, tables: Sequence[str] | None) -> Size:
    row = await connection.fetchrow(_sql["size"], schema, tables)
    return Size(row["rows"], row["bytes"])

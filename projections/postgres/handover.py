"""What a rebuild leaves behind for those who go on: versions, and partitions handed over."""

from __future__ import annotations

from collections.abc import Mapping

from projections.batch import Checkpoint, Partition
from projections.postgres import queries
from projections.postgres.pool import Pool, acquire
from projections.store import Unavailable

_sql = queries.load("projections.postgres", "handover.sql")


async def version(pool: Pool, projection: str, code: int) -> int:
    """Which version a projection's tables are of; unused tables are of ``code``.

    Raises:
        Unavailable: the tables are being swapped, or the database does not answer.
    """
    async with acquire(pool) as connection:
        row = await connection.fetchrow(_sql["version"], projection, code)
    if row is None or row["swapping"]:
        raise Unavailable(
            f"the tables of {projection} are being swapped; if no rebuild runs any more,"
            f" `streams rebuild {projection}` finishes what it began"
        )
    found: int = row["version"]
    return found


async def swaps(pool: Pool, projection: str) -> int | None:
    """How often tables outside PostgreSQL were swapped; None while they are being."""
    async with acquire(pool) as connection:
        row = await connection.fetchrow(_sql["swaps"], projection)
    if row is None:
        return 0
    return None if row["swapping"] else row["swaps"]


async def regain(
    pool: Pool, projection: str, held: Mapping[Partition, Checkpoint]
) -> dict[Partition, Checkpoint]:
    """Those of the partitions that a rebuild has handed over to this owner."""
    places = sorted(held)
    async with acquire(pool) as connection:
        rows = await connection.fetch(
            _sql["regain"],
            projection,
            [place.topic for place in places],
            [place.partition for place in places],
            [held[place].epoch for place in places],
        )
    return {
        Partition(row["topic"], row["partition"]): Checkpoint(row["next_offset"], row["epoch"])
        for row in rows
    }

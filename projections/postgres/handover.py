"""Who owns partitions: taking them, and what a rebuild leaves behind for those who go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from projections.batch import Checkpoint, Partition
from projections.postgres import queries
from projections.postgres.pool import Pool, acquire
from projections.store import Unavailable

_sql = queries.load("projections.postgres", "handover.sql")


async def take(pool: Pool, projection: str, places: Sequence[Partition]) -> Mapping[Partition, Any]:
    """Become the owner of partitions; their rows of ``checkpoints``.

    Of two who take a partition at once, one does it after the other.
    """
    taken: dict[Partition, Any] = {}
    async with acquire(pool) as connection:
        while missing := sorted(set(places) - taken.keys()):
            topics = [place.topic for place in missing]
            numbers = [place.partition for place in missing]
            seen = {
                Partition(row["topic"], row["partition"]): row["epoch"]
                for row in await connection.fetch(_sql["epochs"], projection, topics, numbers)
            }
            epochs = [seen.get(place, 0) for place in missing]
            for row in await connection.fetch(_sql["take"], projection, topics, numbers, epochs):
                taken[Partition(row["topic"], row["partition"])] = row
    return taken


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

"""Reading several tables of one projection as they were at one moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from projections.backoff import Sleep
from projections.postgres.handover import swaps
from projections.postgres.pool import Connection, Pool, translated
from projections.store import Unavailable
from projections.tables import Table

T = TypeVar("T")

#: How often a read is made again because tables were swapped meanwhile, and the seconds between;
#: a swap takes some tens of milliseconds.
READS_MAX = 40
AGAIN_SECONDS = 0.05


@asynccontextmanager
async def one_state(connection: Connection, tables: Sequence[Table[Any]]) -> AsyncIterator[None]:
    """A read-only transaction whose statements all see the same moment of the same tables.

    The snapshot alone is not enough while a rebuild swaps tables: names are looked up anew by each
    statement, so that a transaction could read one old table and then one new one, or new ones as
    they were before the last step of the rebuild. The lock comes before the snapshot (a LOCK takes
    none), so the swap is either over when the snapshot is taken, or waits for the end of this
    transaction.

    Args:
        connection: one that is in no transaction.
        tables: those of the projection, in its order; the swap locks the first one first.
    """
    async with (
        translated(),
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await connection.execute(f"lock table {tables[0].name} in access share mode")
        yield


async def between_swaps(
    pool: Pool, projection: str, read: Callable[[], Awaitable[T]], sleep: Sleep = asyncio.sleep
) -> T:
    """What ``read`` finds in several tables of ClickHouse, all of one rebuild.

    There they are swapped without a transaction, so a read during which that happened may have
    seen old and new ones together, and is made again.

    Raises:
        Unavailable: the swap does not come to its end.
    """
    for _ in range(READS_MAX):
        before = await swaps(pool, projection)
        if before is not None:
            found = await read()
            if await swaps(pool, projection) == before:
                return found
        await sleep(AGAIN_SECONDS)
    raise Unavailable(f"the tables of {projection} are being swapped")

"""Reading several tables of one projection as they were at one moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from projections.postgres.pool import Connection, translated
from projections.tables import Table


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

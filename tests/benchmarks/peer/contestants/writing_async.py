"""Batches into PostgreSQL with asyncpg: COPY for what is new, arrays for what is folded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.benchmarks.peer.contestants import sql
from tests.benchmarks.peer.contestants.batch import Batch

_LOCK, _MOVE, _POSITIONS, _ACCOUNTS, _TOTALS = map(
    sql.numbered, (sql.LOCK, sql.MOVE, sql.POSITIONS, sql.ACCOUNTS, sql.TOTALS)
)


async def positions(connection: Any, topic: str) -> dict[int, int]:
    """Where each partition goes on."""
    return dict(await connection.fetch(_POSITIONS, topic))


async def locked(connection: Any, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """The same for some partitions, which nobody else moves until the transaction ends."""
    return dict(await connection.fetch(_LOCK, topic, list(partitions)))


async def write(connection: Any, topic: str, batch: Batch) -> None:
    """All rows of the batch and its checkpoints, within the caller's transaction."""
    if not batch.ends:
        return
    await connection.copy_records_to_table(
        "peer_transactions", records=batch.transactions, columns=sql.TRANSACTION_COLUMNS
    )
    accounts = zip(*batch.accounts.values(), strict=True)
    await connection.execute(_ACCOUNTS, list(batch.accounts), *map(list, accounts))
    keys, values = zip(*batch.totals, strict=True), zip(*batch.totals.values(), strict=True)
    await connection.execute(_TOTALS, *map(list, keys), *map(list, values))
    await connection.execute(_MOVE, list(batch.ends), list(batch.ends.values()), topic)

"""Batches into PostgreSQL with psycopg2: COPY for what is new, arrays for what is folded."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from tests.benchmarks.peer.contestants import sql
from tests.benchmarks.peer.contestants.batch import Batch

_LOCK, _MOVE, _POSITIONS, _ACCOUNTS, _TOTALS = map(
    sql.formatted, (sql.LOCK, sql.MOVE, sql.POSITIONS, sql.ACCOUNTS, sql.TOTALS)
)
_COPY = f"copy peer_transactions ({', '.join(sql.TRANSACTION_COLUMNS)}) from stdin (format csv)"


def positions(connection: Any, topic: str) -> dict[int, int]:
    """Where each partition goes on."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_POSITIONS, (topic,))
        return dict(cursor.fetchall())


def locked(cursor: Any, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """The same for some partitions, which nobody else moves until the transaction ends."""
    cursor.execute(_LOCK, (topic, list(partitions)))
    return dict(cursor.fetchall())


def write(cursor: Any, topic: str, batch: Batch) -> None:
    """All rows of the batch and its checkpoints, within the caller's transaction."""
    if not batch.ends:
        return
    lines = io.StringIO()
    csv.writer(lines).writerows(batch.transactions)
    lines.seek(0)
    cursor.copy_expert(_COPY, lines, size=1 << 20)
    accounts = zip(*batch.accounts.values(), strict=True)
    cursor.execute(_ACCOUNTS, (list(batch.accounts), *map(list, accounts)))
    keys, values = zip(*batch.totals, strict=True), zip(*batch.totals.values(), strict=True)
    cursor.execute(_TOTALS, (*map(list, keys), *map(list, values)))
    cursor.execute(_MOVE, (list(batch.ends), list(batch.ends.values()), topic))

"""Whether the tables hold exactly what the events up to the checkpoints say."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

import asyncpg

from tests.benchmarks.peer.events import TOPIC, Tables, reference

#: The tables as the reference has them: lines of text, sorted by their bytes.
_LINES = {
    "accounts": (
        "select account_id, balance, currency, (extract(epoch from updated_at) * 1000)::bigint,"
        ' last_event_id::text from peer_accounts order by account_id collate "C"'
    ),
    "totals": (
        "select user_id, to_char(month, 'YYYY-MM'), category, total, entries from peer_totals"
        ' order by user_id collate "C", month, category collate "C"'
    ),
    "transactions": (
        "select event_id::text, user_id, account_id,"
        " (extract(epoch from happened_at) * 1000)::bigint, amount, currency, category, merchant,"
        ' balance_after from peer_transactions order by event_id::text collate "C"'
    ),
}

SHOWN_LINES = 3


class Verifier:
    """Knows the log of each partition; the whole of it is folded once."""

    def __init__(self, partitions: Sequence[Sequence[bytes]]) -> None:
        self._partitions = partitions
        self._whole: Tables | None = None

    @property
    def events(self) -> int:
        return sum(map(len, self._partitions))

    async def differences(self, database: str) -> list[str]:
        """What is not as the checkpoints say, in words; empty when all is exact."""
        connection = await asyncpg.connect(database)
        try:
            # One state, whatever a contestant that was just ended still has under way.
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                rows = await connection.fetch(
                    "select partition, next_offset from peer_checkpoints where topic = $1", TOPIC
                )
                wanted = self._tables({row[0]: row[1] for row in rows})
                found = [
                    difference
                    for name, sql in _LINES.items()
                    for difference in await _compare(connection, name, sql, getattr(wanted, name))
                ]
        finally:
            await connection.close()
        return found

    def _tables(self, ends: dict[int, int]) -> Tables:
        whole = all(ends.get(n, 0) == len(values) for n, values in enumerate(self._partitions))
        if whole and self._whole is not None:
            return self._whole
        read = [
            value
            for number, values in enumerate(self._partitions)
            for value in values[: ends.get(number, 0)]
        ]
        tables = reference(read)
        if whole:
            self._whole = tables
        return tables


async def _compare(connection: Any, name: str, sql: str, wanted: Sequence[str]) -> list[str]:
    copied = io.BytesIO()
    await connection.copy_from_query(sql, output=copied, format="text")
    found = copied.getvalue().decode().splitlines()
    if found == wanted:
        return []
    missing, extra = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
    shown = [f"without {line!r}" for line in list(missing)[:SHOWN_LINES]]
    shown += [f"with {line!r}" for line in list(extra)[:SHOWN_LINES]]
    total = f"{missing.total()} lines missing, {extra.total()} too many"
    return [f"peer_{name}: {total}: {'; '.join(shown)}"]

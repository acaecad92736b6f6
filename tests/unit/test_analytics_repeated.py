"""An event that analytics had refused and that comes again, and again: it takes effect once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest

from projections.analytics.append import AppendTable, Values
from projections.analytics.appender import Analytics
from projections.analytics.memory import MemoryAppendStore, MemoryFlushLog
from projections.analytics.tables import TRANSACTIONS
from projections.store import RowsRefused
from tests.builders import posted
from tests.log import Log


class Picky(MemoryAppendStore):
    """Takes no amount of 66.6 until it is told to."""

    picky = True

    def encode(self, table: AppendTable, rows: Sequence[Values]) -> bytes:
        if self.picky and table is TRANSACTIONS and any(row[8] == Decimal("66.6") for row in rows):
            raise RowsRefused("66.6 does not fit")
        return super().encode(table, rows)


async def at_once(seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("size", [1, 2, 3, 9])
async def test_whatever_the_batches_and_the_flushes(size: int) -> None:
    kafka, store, log = Log(), Picky(), MemoryFlushLog()
    poison = posted("66.6", user="usr_1")
    kafka.append([poison])
    await appended(Analytics(store, log, kafka.reread, sleep=at_once), kafka, 1)
    assert len(log.letters) == 1
    store.picky = False
    kafka.append([poison] * 6)
    await appended(Analytics(store, log, kafka.reread, sleep=at_once), kafka, size)
    assert log.letters == []
    assert len(store.rows(TRANSACTIONS)) == 1


async def test_a_refusal_that_waits_for_its_flush_is_known() -> None:
    """A day that has no column is refused again wherever it stands, not taken for a repetition."""
    kafka, store, log = Log(), MemoryAppendStore(), MemoryFlushLog()
    kafka.append([posted(valueDate="0001-01-01", user="usr_1")] * 3)
    await appended(Analytics(store, log, kafka.reread, sleep=at_once), kafka, 1)
    assert sorted(letter.position.offset for letter in log.letters) == [0, 1, 2]
    assert all(letter.reason.startswith("data.valueDate: 0001-01-01") for letter in log.letters)


async def appended(worker: Analytics, kafka: Log, size: int) -> None:
    """All batches are handed over before anything of them is in the store."""
    for place, start in (await worker.take(kafka.places())).items():
        end = len(kafka.records[place])
        for first in range(start, end, size):
            await worker.append(kafka.batch(place, first, min(first + size, end)))
    await worker.close()

"""aiokafka handing over what it fetched member by member, without an object for each record.

It leans on aiokafka's internals, written for the versions that pyproject.toml pins;
``tests/unit/test_fetching.py`` fails when they move. What aiokafka does about checksums, aborted
transactions, control batches and positions is left to it: each of Kafka's record batches is shown
to it as one record, at the offset of its last one. Partitions are asked for by turns.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher

from schemas.codec import RawRecord
from schemas.records import Records


class _Turns:
    """Stands where aiokafka's fetcher has `random`, of which it only uses ``shuffle``.

    A broker fills a fetch in the order in which its partitions are asked for, and some come away
    empty; by lot, one of many that are behind may for minutes.
    """

    def __init__(self) -> None:
        self._came: dict[Any, int] = {}
        self._clock = itertools.count(1)

    def came(self, tp: Any) -> None:
        """Something was fetched of it."""
        self._came[tp] = next(self._clock)

    def shuffle(self, asked: list[tuple[Any, int]]) -> None:
        """Put those first, of (partition, offset), of which nothing came for longest."""
        asked.sort(key=lambda each: self._came.get(each[0], 0))


_turns = _Turns()


class _Whole:
    """All records of one of Kafka's record batches, shown as one."""

    __slots__ = ("offset", "records")

    def __init__(self, records: list[Any]) -> None:
        self.records = records
        self.offset: int = records[-1].offset


class _Batch:
    """A record batch with one record in it."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[_Whole]:
        records = list(self._batch)
        return iter([_Whole(records)] if records else [])

    def __next__(self) -> Any:
        """The first record, which tells what a control batch is about."""
        return next(self._batch)


class _Batches:
    """A fetch's record batches."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self.has_next = records.has_next

    def next_batch(self) -> _Batch:
        return _Batch(self._records.next_batch())


class _Unpacked(fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of one partition, to be taken in pieces."""

    def __init__(self, tp: Any, records: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(tp, _Batches(records), *args, **kwargs)
        _turns.came(tp)
        self._chunk = Records(*tp)
        #: How much of the chunk was taken.
        self._at = 0

    def take(self, most: int | None) -> Records:
        """The next records; none if there are no more."""
        taken = Records(*self._tp)
        while (most is None or len(taken) < most) and self._fill():
            left = len(self._chunk) - self._at
            count = left if most is None else min(left, most - len(taken))
            if count == len(self._chunk) and not taken:
                taken = self._chunk
            else:
                taken.extend(self._chunk, self._at, self._at + count)
            self._at += count
            self.next_fetch_offset = self._chunk.offsets[self._at - 1] + 1
        return taken

    def _fill(self) -> bool:
        """Have a chunk of which something is left; False at the end."""
        while self._at == len(self._chunk):
            if (chunk := next(self._records_iterator, None)) is None:
                return False
            self._chunk, self._at = chunk
        return True

    def _consumer_record(self, tp: Any, whole: _Whole) -> tuple[Records, int]:
        chunk = Records(tp.topic, tp.partition, whole.records)
        return chunk, bisect_left(chunk.offsets, self.next_fetch_offset)

    def __next__(self) -> RawRecord:
        for record in self.take(1):
            return record
        raise StopIteration


class _Fetched(fetcher.FetchResult):  # type: ignore[misc]
    """Hands over many records as one object."""

    _partition_records: _Unpacked | None

    def getall(self, max_records: int | None = None) -> Records | list[Any]:
        if not self.check_assignment(self._topic_partition) or self._partition_records is None:
            return []
        found = self._partition_records.take(max_records)
        self._update_position()
        if max_records is None or len(found) < max_records:
            self._partition_records = None
        return found


def install() -> None:
    """Have all consumers of this process do so: aiokafka offers no other place to say it."""
    fetcher.PartitionRecords = _Unpacked
    fetcher.FetchResult = _Fetched
    fetcher.random = _turns

"""Kafka in memory: partitions with gaps in their offsets, and one transactional producer."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from projections.batch import Partition
from schemas.codec import RawRecord, encode
from schemas.envelope import HEADERS, Draft, key_of, topic_of
from schemas.instants import milliseconds
from schemas.topics import partition_of

Header = tuple[str, bytes | None]


class Log:
    """Records by partition, as a consumer with read_committed sees them.

    What it does not see takes offsets all the same: markers of transactions, and what aborted
    ones had written.
    """

    def __init__(
        self, counts: Mapping[str, int], chance: random.Random, clock: Callable[[], datetime]
    ) -> None:
        self.counts = counts
        self.records: dict[Partition, list[RawRecord]] = {
            Partition(topic, number): []
            for topic, count in counts.items()
            for number in range(count)
        }
        self.ends = dict.fromkeys(self.records, 0)
        self.grown: Callable[[], None] = lambda: None
        self._chance = chance
        self._clock = clock

    def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = tuple(HEADERS),
        partition: int | None = None,
    ) -> RawRecord:
        """Append one record; to its key's partition, if no other is named."""
        number = partition_of(key or b"", self.counts[topic]) if partition is None else partition
        place = Partition(topic, number)
        record = RawRecord(
            *place, self.ends[place], key, value, headers, milliseconds(self._clock())
        )
        self.records[place].append(record)
        self.ends[place] += 1
        self.grown()
        return record

    def produce(self, draft: Draft, partition: int | None = None) -> RawRecord:
        """What a producer of events does."""
        return self.append(topic_of(draft).name, key_of(draft), encode(draft), partition=partition)

    def skip(self, places: Iterable[Partition], most: int = 1) -> None:
        """Offsets that no consumer sees a record at."""
        for place in places:
            self.ends[place] += self._chance.randint(1, most)

    def read(self, place: Partition, start: int, most: int) -> tuple[list[RawRecord], int]:
        """Records from an offset on, and the position behind them (behind markers, too)."""
        records = self.records[place]
        first = bisect_left(records, start, key=lambda record: record.offset)
        found = records[first : first + most]
        if first + most < len(records):
            return found, found[-1].offset + 1 if found else start
        return found, self.ends[place]

    def places(self) -> list[Partition]:
        return sorted(self.records)

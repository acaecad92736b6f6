"""A log in memory as a relay writes it, for simulation and tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from projections.batch import Partition
from projections.outbox import Name, Owed
from projections.store import Unavailable
from schemas.topics import partition_of
from streams.relay import PUBLISHED_TOPICS, Page

PAGE_RECORDS = 1_000


@dataclass
class MemoryDerivedTopics:
    """What relays have published, by partition; ``epoch`` counts the relays that wrote."""

    partitions: int
    records: dict[Partition, list[Owed]] = field(default_factory=dict)
    epoch: int = 0

    def place_of(self, record: Owed) -> Partition:
        return Partition(record.topic, partition_of(record.key or b"", self.partitions))


class MemoryDerivedLog:
    """One relay's session; whoever had one before is fenced."""

    def __init__(self, topics: MemoryDerivedTopics) -> None:
        self._topics = topics
        topics.epoch += 1
        self._epoch = topics.epoch

    async def publish(self, owed: Sequence[Owed]) -> Mapping[Partition, int]:
        if self._epoch != self._topics.epoch:
            raise Unavailable("another relay writes now")
        ends = {}
        for record in owed:
            place = self._topics.place_of(record)
            kept = self._topics.records.setdefault(place, [])
            kept.append(record)
            ends[place] = len(kept)
        return ends

    async def standing(
        self, topics: Collection[str], positions: Mapping[Partition, int]
    ) -> AsyncIterator[Page]:
        for topic in sorted(topics):
            for number in range(self._topics.partitions):
                place = Partition(topic, number)
                records = list(self._topics.records.get(place, ()))
                first = 0 if topic in PUBLISHED_TOPICS else len(records)
                start = positions.get(place, first)
                for low in range(start, len(records) or 1, PAGE_RECORDS):
                    read = records[low : low + PAGE_RECORDS]
                    names: set[Name] = {record.name for record in read}
                    end = low + len(read)
                    yield Page(names, {place: end}, len(records) - end)


@asynccontextmanager
async def memory_log(topics: MemoryDerivedTopics) -> AsyncIterator[MemoryDerivedLog]:
    """A session for as long as the block lasts."""
    yield MemoryDerivedLog(topics)

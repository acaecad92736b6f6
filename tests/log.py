"""A log in memory: records in partitions, read as the worker reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from projections.batch import Batch, Move, Partition
from schemas.codec import RawRecord, decode_batch
from schemas.envelope import Draft, Event
from schemas.limits import partitions_embedded
from schemas.topics import event_topics
from tests.builders import records_of

_PARTITIONS = {topic.name: partitions_embedded for topic in event_topics()}


class Log:
    """Appends drafts and gives batches with the index's verdict on repetitions."""

    def __init__(self) -> None:
        self.records: dict[Partition, list[RawRecord]] = {}
        self.rereads = 0
        self._first: dict[bytes, tuple[str, int, int]] = {}
        self._repeated: set[tuple[str, int, int]] = set()

    def append(self, drafts: Iterable[Draft]) -> None:
        start = {place: len(records) for place, records in self.records.items()}
        records = records_of(drafts, start=start)
        for record, event in zip(
            records, decode_batch(records, partitions=_PARTITIONS), strict=True
        ):
            self.records.setdefault(Partition(record.topic, record.partition), []).append(record)
            if isinstance(event, Event):
                first = self._first.setdefault(event.key_bytes, tuple(event.position))
                if first != event.position:
                    self._repeated.add(tuple(event.position))

    def places(self) -> list[Partition]:
        return sorted(self.records)

    def events(self) -> list[Event]:
        return [event for place in self.places() for event in self.batch(place).events]

    def batch(self, place: Partition, start: int = 0, end: int | None = None) -> Batch:
        end = len(self.records[place]) if end is None else end
        records = self.records[place][start:end]
        decoded = decode_batch(records, partitions=_PARTITIONS)
        events = [event for event in decoded if isinstance(event, Event)]
        return Batch(
            topic=place.topic,
            partition=place.partition,
            start=start,
            end=end,
            events=events,
            duplicates=frozenset(
                event.position.offset for event in events if tuple(event.position) in self._repeated
            ),
            records=records,
        )

    async def reread(self, move: Move) -> Sequence[Batch]:
        """As the worker reads a range again, in more than one batch."""
        self.rereads += 1
        middle = (move.start + move.end) // 2
        cuts = [move.start, middle, move.end] if middle > move.start else [move.start, move.end]
        return [self.batch(move.place, start, end) for start, end in pairwise(cuts)]

"""Records of one partition as they are fetched: member by member, without an object for each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

from schemas.codec import RawRecord
from schemas.fast import Record

Headers = Sequence[tuple[str, bytes | None]]


class Records(Sequence[RawRecord]):
    """Many records, in log order; each of the lists has an element for each record."""

    __slots__ = ("headers", "keys", "offsets", "partition", "timestamps", "topic", "values")

    def __init__(self, topic: str, partition: int, source: Sequence[Any] = ()) -> None:
        """`source` are objects with the members of a record, whatever their class."""
        self.topic = topic
        self.partition = partition
        self.offsets: list[int] = [record.offset for record in source]
        self.keys: list[bytes | None] = [record.key for record in source]
        self.values: list[bytes | None] = [record.value for record in source]
        self.headers: list[Headers] = [record.headers for record in source]
        self.timestamps: list[int] = [record.timestamp for record in source]

    @classmethod
    def of(cls, records: Sequence[Record]) -> Records | None:
        """The same records; None if they are not all of one partition."""
        if isinstance(records, cls):
            return records
        places = {(record.topic, record.partition) for record in records}
        return cls(*places.pop(), records) if len(places) == 1 else None

    def extend(self, other: Records, start: int, stop: int) -> None:
        """Add some of the records of the same partition that come next."""
        for name in ("offsets", "keys", "values", "headers", "timestamps"):
            getattr(self, name).extend(getattr(other, name)[start:stop])

    def between(self, start: int, end: int) -> Records:
        """Those with offsets from ``start`` up to, but not including, ``end``."""
        first, last = bisect_left(self.offsets, start), bisect_left(self.offsets, end)
        if last - first == len(self):
            return self
        found = Records(self.topic, self.partition)
        found.extend(self, first, last)
        return found

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[RawRecord]:
        lists = self.offsets, self.keys, self.values, self.headers, self.timestamps
        members = zip(repeat(self.topic), repeat(self.partition), *lists, strict=False)
        return map(tuple.__new__, repeat(RawRecord), members)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        return RawRecord(
            self.topic,
            self.partition,
            self.offsets[at],
            self.keys[at],
            self.values[at],
            self.headers[at],
            self.timestamps[at],
        )

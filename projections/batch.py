"""What travels from the log to the projections: records of one partition, read and judged once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from schemas.columns import Columns
from schemas.envelope import Event, idempotency_key
from schemas.fast import Record
from schemas.position import Position


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Keyed(NamedTuple):
    """Events of one partition, in log order, as the index of first positions knows them."""

    place: Partition
    offsets: Sequence[int]
    #: 16 bytes each that stand for (source, id).
    keys: Sequence[bytes]


def keyed(place: Partition, events: Sequence[Event]) -> Keyed:
    # Not by the event's own property: it would cost a further call for each.
    keys = [idempotency_key(event.source, event.id) for event in events]
    return Keyed(place, [event.position[2] for event in events], keys)


class LazyEvents(Sequence[Event]):
    """Events that are decoded one by one only if somebody looks at them."""

    def __init__(self, count: int, decode: Callable[[], Sequence[Event]]) -> None:
        self._count = count
        self._decode = decode

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, at: Any) -> Any:
        return self._events[at]

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    @cached_property
    def _events(self) -> Sequence[Event]:
        return self._decode()


@dataclass(frozen=True)
class Batch:
    """Events of one partition, in log order, from ``start`` up to but not including ``end``.

    ``end`` may lie beyond the last event: unreadable records, transaction markers and compacted
    offsets take up room too. ``duplicates`` are the offsets of events whose (source, id) stands
    at an earlier position. ``commands_end`` is where ``app.commands`` ended when this batch was
    fetched, for each of its partitions that may bear on these events. ``columns`` are all of the
    events once more, where they are many and of one type.
    """

    topic: str
    partition: int
    start: int
    end: int
    events: Sequence[Event]
    duplicates: frozenset[int] = frozenset()
    commands_end: Mapping[Partition, int] = field(default_factory=dict)
    records: Sequence[Record] = ()
    release: Callable[[], None] = lambda: None
    columns: Columns | None = None

    @property
    def place(self) -> Partition:
        return Partition(self.topic, self.partition)

    def record_at(self, offset: int) -> Record | None:
        """The record that was read there, if it is at hand."""
        number = bisect_left(self.records, offset, key=attrgetter("offset"))
        found = self.records[number : number + 1]
        return found[0] if found and found[0].offset == offset else None


@dataclass(frozen=True)
class DeadLetter:
    """A record that could not be applied, untouched, with the reason and who refused it.

    ``projection`` is ``*`` where no projection can read it.
    """

    projection: str
    position: Position
    reason: str
    record: Record | None
    event_key: UUID | None = None
    event_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """The next offset of a projection on a partition, and the token of who owns it."""

    next_offset: int
    epoch: int


@dataclass(frozen=True)
class Move:
    """A checkpoint's step, guarded by where it was and by who took the partition last."""

    topic: str
    partition: int
    start: int
    end: int
    epoch: int

    @property
    def place(self) -> Partition:
        return Partition(self.topic, self.partition)

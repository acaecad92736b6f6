"""What travels from the log to the projections: records of one partition, read and judged once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from schemas.envelope import Event
from schemas.fast import Record
from schemas.position import Position


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


@dataclass(frozen=True)
class Batch:
    """Events of one partition, in log order, from ``start`` up to but not including ``end``.

    ``end`` may lie beyond the last event: unreadable records, transaction markers and compacted
    offsets take up room too. ``duplicates`` are the offsets of events whose (source, id) stands
    at an earlier position. ``commands_end`` is where ``app.commands`` ended when this batch was
    fetched, for each of its partitions that may bear on these events.
    """

    topic: str
    partition: int
    start: int
    end: int
    events: Sequence[Event]
    duplicates: frozenset[int] = frozenset()
    commands_end: Mapping[Partition, int] = field(default_factory=dict)
    records: Mapping[int, Record] = field(default_factory=dict)
    release: Callable[[], None] = lambda: None

    @property
    def place(self) -> Partition:
        return Partition(self.topic, self.partition)


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

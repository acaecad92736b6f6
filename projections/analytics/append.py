"""Appending a log's rows to a store without transactions, exactly once: the values and the ports.

A flush is a set of ranges of the log whose rows are sent together. It is recorded before any row
is sent and marked done after the last one, so whoever finds an open flush knows which ranges may
be there in part, can make the same rows again from the log and send what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from projections.batch import DeadLetter, Move, Partition
from schemas.position import Position

#: One row: its values in the order of its table's columns. The first three are its position.
Values = tuple[Any, ...]

#: Rows by table name.
Tables = Mapping[str, Sequence[Values]]


class Column(NamedTuple):
    """A column and its type, as ClickHouse writes it."""

    name: str
    type: str


@dataclass(frozen=True)
class AppendTable:
    """A table that only grows.

    An event has at most one row in a table, and a row begins with topic, partition and offset.
    ``merges`` marks a table that keeps less than it was sent and doesn't mind seeing a row twice;
    its rows carry no position, and it can't be asked what it has.
    """

    name: str
    columns: tuple[Column, ...]
    merges: bool = False


@dataclass(frozen=True)
class Flush:
    """Ranges of the log whose rows are sent together.

    Attributes:
        id: names the flush; tokens of its inserts begin with it.
        projection: whose checkpoints move.
        moves: the ranges, guarded by their owner's epoch.
        rows: how many rows each table gets.
        let_in: offsets by range number of repeated events that take effect all the same, because
            their first position had been refused (a dead letter that was retried).
        left_out: events that the store refused while the flush was under way.
    """

    id: UUID
    projection: str
    moves: tuple[Move, ...]
    rows: Mapping[str, int]
    let_in: frozenset[Position] = frozenset()
    left_out: frozenset[Position] = frozenset()

    def token(self, table: str) -> str:
        """What makes a repeated insert of the same rows harmless."""
        return f"{self.id}:{table}"

    def without(self, places: frozenset[Partition]) -> tuple[Move, ...]:
        """The moves of all other partitions."""
        return tuple(move for move in self.moves if move.place not in places)

    def leaving_out(self, positions: frozenset[Position]) -> Flush:
        """The same flush without the rows of these events."""
        return replace(self, left_out=self.left_out | positions)


@dataclass(frozen=True)
class Taken:
    """What a new owner finds: where to go on, with which epoch, and a flush left open."""

    next_offset: int
    epoch: int
    flush: UUID | None = None


class Lost(Exception):
    """Other workers own these partitions now; the flush was not recorded."""

    def __init__(self, places: frozenset[Partition]) -> None:
        self.places = places
        super().__init__(", ".join(f"{place.topic}:{place.partition}" for place in sorted(places)))


class AppendStore(Protocol):
    """Takes rows; remembers tokens of inserts, for a while."""

    def encode(self, table: AppendTable, rows: Sequence[Values]) -> bytes:
        """The rows as one block, sorted by the caller.

        Raises:
            RowsRefused: a value doesn't fit its column.
        """

    async def send(self, table: AppendTable, block: bytes, token: str) -> None:
        """Insert the block, unless an insert with that token has taken effect.

        Raises:
            RowsRefused: the store refuses a row; none of the block was kept.
            Unavailable: whether it was kept is unknown; send it again with the same token.
        """

    async def count(self, table: AppendTable, moves: Sequence[Move]) -> int:
        """How many rows of these ranges the table has."""

    async def present(self, table: AppendTable, moves: Sequence[Move]) -> set[Position]:
        """The positions in these ranges that the table has rows of."""


class FlushLog(Protocol):
    """Records flushes beside the checkpoints, where there are transactions."""

    async def take(self, projection: str, place: Partition) -> Taken:
        """Become the owner of a partition; whoever had it is fenced from now on."""

    async def refused(self, projection: str, keys: Sequence[UUID]) -> set[UUID]:
        """Those keys whose event this projection refused and has not applied since."""

    async def open(self, flush: Flush) -> None:
        """Record it and tie its checkpoints to it; doing it again changes nothing.

        Raises:
            Lost: some checkpoints are elsewhere, tied to another flush, or someone else's.
        """

    async def close(
        self, flush: Flush, letters: Sequence[DeadLetter], resolved: Sequence[UUID]
    ) -> None:
        """Mark it done and move its checkpoints, with the dead letters, in one transaction.

        A flush that is done already (by whoever repaired it) stays as it is.
        """

    def repairing(self, id: UUID) -> AbstractAsyncContextManager[Repair | None]:
        """Hold an open flush against other repairers; None if it is done."""


class Repair(Protocol):
    """An open flush, held."""

    @property
    def flush(self) -> Flush: ...

    async def close(self, letters: Sequence[DeadLetter], resolved: Sequence[UUID]) -> None:
        """As ``FlushLog.close``, in the transaction that holds the flush."""


@dataclass
class Gathered:
    """Rows of some batches, with what became of their events."""

    tables: dict[str, list[Values]] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    resolved: list[UUID] = field(default_factory=list)
    let_in: set[Position] = field(default_factory=set)

    def add(self, other: Gathered) -> None:
        for table, rows in other.tables.items():
            self.tables.setdefault(table, []).extend(rows)
        self.letters += other.letters
        self.resolved += other.resolved
        self.let_in |= other.let_in

    @property
    def row_count(self) -> int:
        return sum(map(len, self.tables.values()))


Now = Callable[[], float]

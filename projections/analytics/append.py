"""Appending a log's rows to a store without transactions, exactly once: the values and the ports.

A flush is a set of ranges of the log whose rows are sent together. It is recorded before any row
is sent and marked done after the last one, so whoever finds an open flush knows which ranges may
be there in part, can make the same rows again from the log and send what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from projections.batch import Checkpoint, DeadLetter, Move, Partition
from schemas.position import Position

#: One row: its values in the order of its table's columns.
Values = tuple[Any, ...]


def _first_three(row: Values) -> Position:
    return Position(*row[:3])


class Column(NamedTuple):
    """A column and its type, as ClickHouse writes it."""

    name: str
    type: str


@dataclass(frozen=True, eq=False)
class AppendTable:
    """A table that only grows.

    An event has at most one row in a table, and ``place`` says whose a row is. ``merges`` marks a
    table that keeps less than it was sent and doesn't mind seeing a row twice; it can't be asked
    what it has.
    """

    name: str
    columns: tuple[Column, ...]
    merges: bool = False
    place: Callable[[Values], Position] = _first_three


@dataclass(frozen=True)
class Flush:
    """Ranges of the log whose rows are sent together.

    Attributes:
        id: names the flush; tokens of its inserts begin with it.
        projection: whose checkpoints move.
        moves: the ranges, guarded by their owner's epoch.
        rows: how many rows each table gets.
        letters: how many of the events become dead letters.
        let_in: repeated events that take effect all the same, because they had been refused at
            their first position (a dead letter that was retried).
    """

    id: UUID
    projection: str
    moves: tuple[Move, ...]
    rows: Mapping[str, int]
    letters: int = 0
    let_in: frozenset[Position] = frozenset()

    def token(self, table: str) -> str:
        """What makes a repeated insert of the same rows harmless."""
        return f"{self.id}:{table}"


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

    async def ahead(
        self, table: AppendTable, offsets: Mapping[Partition, int]
    ) -> Mapping[Partition, int]:
        """Where the table has rows at or after these offsets: the offset after the last one."""


class FlushLog(Protocol):
    """Records flushes beside the checkpoints, where there are transactions."""

    async def take(self, projection: str, places: Sequence[Partition]) -> Mapping[Partition, Taken]:
        """Become the owner of partitions; whoever had them is fenced from now on."""

    async def regain(
        self, projection: str, held: Mapping[Partition, Checkpoint]
    ) -> Mapping[Partition, Checkpoint]:
        """Those partitions that a rebuild has handed over to this owner; see ``Store.regain``."""

    async def version(self, projection: str, version: int) -> int:
        """Which version the tables are of; see ``Store.version``."""

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

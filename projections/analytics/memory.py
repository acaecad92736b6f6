"""The append store and the flush log in memory: for tests, and for playing with folds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from projections.analytics.append import AppendTable, Flush, Lost, Taken, Values
from projections.batch import Checkpoint, DeadLetter, Move, Partition
from projections.store import RowsRefused
from schemas.position import Position


class MemoryAppendStore:
    """Keeps rows by table; remembers tokens for each month of event time, as ClickHouse does."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Values]] = {}
        self._blocks: dict[bytes, list[Values]] = {}
        self._tokens: set[tuple[str, str, object]] = set()

    def rows(self, table: AppendTable) -> list[Values]:
        """What the table holds, in the order of the log."""
        return sorted(self._rows.get(table.name, []), key=table.place)

    def encode(self, table: AppendTable, rows: Sequence[Values]) -> bytes:
        for row in rows:
            if len(row) != len(table.columns) or any(_unfit(value) for value in row):
                raise RowsRefused(f"{table.name}: a value does not fit")
        block = msgspec.msgpack.encode([table.name, [str(row) for row in rows]])
        self._blocks[block] = list(rows)
        return block

    async def send(self, table: AppendTable, block: bytes, token: str) -> None:
        months: dict[object, list[Values]] = {}
        for row in self._blocks[block]:
            months.setdefault(_month(table, row), []).append(row)
        for month, rows in months.items():
            entry = (table.name, token, month)
            if entry not in self._tokens:
                self._tokens.add(entry)
                self._rows.setdefault(table.name, []).extend(rows)

    async def count(self, table: AppendTable, moves: Sequence[Move]) -> int:
        return sum(_covers(moves, table.place(row)) for row in self._rows.get(table.name, []))

    async def present(self, table: AppendTable, moves: Sequence[Move]) -> set[Position]:
        places = (table.place(row) for row in self._rows.get(table.name, []))
        return {place for place in places if _covers(moves, place)}

    async def ahead(
        self, table: AppendTable, offsets: Mapping[Partition, int]
    ) -> Mapping[Partition, int]:
        ends: dict[Partition, int] = {}
        for topic, partition, offset in map(table.place, self._rows.get(table.name, [])):
            place = Partition(topic, partition)
            if place in offsets and offset >= offsets[place]:
                ends[place] = max(ends.get(place, 0), offset + 1)
        return ends


@dataclass
class _Stand:
    next_offset: int = 0
    epoch: int = 0
    flush: UUID | None = None


@dataclass
class MemoryFlushLog:
    """Checkpoints and flushes in memory."""

    stands: dict[Partition, _Stand] = field(default_factory=dict)
    flushes: dict[UUID, Flush] = field(default_factory=dict)
    done: set[UUID] = field(default_factory=set)
    letters: list[DeadLetter] = field(default_factory=list)
    tables_version: int = 0
    handed_over_from: dict[Partition, int] = field(default_factory=dict)

    async def take(self, projection: str, places: Sequence[Partition]) -> Mapping[Partition, Taken]:
        taken = {}
        for place in places:
            stand = self.stands.setdefault(place, _Stand())
            stand.epoch += 1
            self.handed_over_from.pop(place, None)
            taken[place] = Taken(stand.next_offset, stand.epoch, stand.flush)
        return taken

    def epoch(self, place: Partition) -> int:
        """The fencing token of who owns the partition now; 0 if nobody has."""
        return self.stands.get(place, _Stand()).epoch

    def hand_over(self, version: int) -> None:
        """What a rebuild does to the checkpoints when it swaps the tables."""
        self.tables_version = version
        for place, stand in self.stands.items():
            self.handed_over_from.setdefault(place, stand.epoch)
            stand.epoch += 1

    async def regain(
        self, projection: str, held: Mapping[Partition, Checkpoint]
    ) -> Mapping[Partition, Checkpoint]:
        back = {}
        for place, mine in held.items():
            stand = self.stands.get(place)
            since = self.handed_over_from.get(place)
            if stand is not None and since is not None and since <= mine.epoch < stand.epoch:
                back[place] = Checkpoint(stand.next_offset, stand.epoch)
        return back

    async def version(self, projection: str, version: int) -> int:
        self.tables_version = self.tables_version or version
        return self.tables_version

    async def refused(self, projection: str, keys: Sequence[UUID]) -> set[UUID]:
        known = {letter.event_key for letter in self.letters}
        return {key for key in keys if key in known}

    async def open(self, flush: Flush) -> None:
        if flush.id in self.flushes:
            return
        lost = {move.place for move in flush.moves if not self._is_at(move)}
        if lost:
            raise Lost(frozenset(lost))
        self.flushes[flush.id] = flush
        for move in flush.moves:
            self.stands[move.place].flush = flush.id

    async def close(
        self, flush: Flush, letters: Sequence[DeadLetter], resolved: Sequence[UUID]
    ) -> None:
        if flush.id in self.done:
            return
        self.done.add(flush.id)
        for move in flush.moves:
            stand = self.stands[move.place]
            stand.flush, stand.next_offset = None, move.end
        self.letters = [each for each in self.letters if each.event_key not in set(resolved)]
        self.letters += letters

    @asynccontextmanager
    async def repairing(self, id: UUID) -> AsyncIterator[_Held | None]:
        yield None if id in self.done else _Held(self, self.flushes[id])

    def _is_at(self, move: Move) -> bool:
        stand = self.stands.get(move.place, _Stand())
        return (stand.next_offset, stand.epoch, stand.flush) == (move.start, move.epoch, None)


@dataclass(frozen=True)
class _Held:
    log: MemoryFlushLog
    flush: Flush

    async def close(self, letters: Sequence[DeadLetter], resolved: Sequence[UUID]) -> None:
        await self.log.close(self.flush, letters, resolved)


def _covers(moves: Sequence[Move], place: Position) -> bool:
    return any(
        move.place == (place.topic, place.partition) and move.start <= place.offset < move.end
        for move in moves
    )


def _month(table: AppendTable, row: Values) -> object:
    for column, value in zip(table.columns, row, strict=True):
        if column.name == "time":
            return value.year, value.month
    return None


def _unfit(value: object) -> bool:
    from decimal import Decimal

    return isinstance(value, Decimal) and abs(value) >= Decimal(10) ** 20

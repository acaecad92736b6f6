"""PostgreSQL and ClickHouse in memory: each call is one step, as a transaction is.

The stores are the product's own in-memory ones; what is added here is what PostgreSQL refuses,
the locks that span several calls, and a watch over the checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from projections.analytics.append import AppendTable, Flush, Values
from projections.analytics.gather import ANALYTICS
from projections.analytics.memory import MemoryAppendStore, MemoryFlushLog
from projections.batch import Checkpoint, DeadLetter, Partition
from projections.memory import MemoryIndex, MemoryStore
from projections.store import Commit, RowsRefused
from tests.simulation.clock import at_once
from tests.simulation.world import Life, World

#: A NUL as it stands in JSON.
_NUL = b"\\u0000"


class StrictStore(MemoryStore):
    """Refuses what PostgreSQL refuses: a NUL in a text (SQLSTATE 22021)."""

    async def commit(self, commit: Commit) -> None:
        stands = [await self.checkpoint(commit.projection, move.place) for move in commit.moves]
        if stands == [Checkpoint(move.start, move.epoch) for move in commit.moves]:
            for table, rows in commit.changes.rows.items():
                if _NUL in msgspec.json.encode(list(rows.values())):
                    raise RowsRefused(f"{table.name}: a NUL in a text")
        await super().commit(commit)


@dataclass
class Parts:
    """What a history is built with; a test of a mechanism gives a part that lacks it."""

    store: Callable[[], MemoryStore] = StrictStore
    index: Callable[[MemoryStore], MemoryIndex] = lambda store: MemoryIndex(store.outbox)
    flush_log: Callable[[], MemoryFlushLog] = MemoryFlushLog
    append_store: Callable[[], MemoryAppendStore] = MemoryAppendStore


@dataclass
class Lead:
    """A relay's leadership: a lock that its connection holds, and that ends with it."""

    life: Life
    over: bool = False


class Postgres:
    """Everything in one database, and nothing of it halfway."""

    def __init__(self, world: World, parts: Parts) -> None:
        self.world = world
        self.store = parts.store()
        self.index = parts.index(self.store)
        self.flushes = parts.flush_log()
        self.lead: Lead | None = None
        #: Flushes whose row is locked, by whom.
        self.held: dict[UUID, object] = {}
        self._letters_of_analytics: set[tuple[str, int, int]] = set()

    def is_led(self) -> bool:
        """Whether some relay's connection holds the leadership."""
        return self.lead is not None and not self.lead.over

    def commit(self, commit: Commit) -> None:
        before = self._stands(commit.projection, [move.place for move in commit.moves])
        at_once(self.store.commit(commit))
        after = self._stands(commit.projection, list(before))
        self._watch(commit.projection, before, after)

    def close_flush(
        self, flush: Flush, letters: Sequence[DeadLetter], resolved: Sequence[UUID]
    ) -> None:
        """Of the flush log, with the dead letters and what is owed of them."""
        if flush.id in self.flushes.done:
            return
        before = {move.place: self._analytics(move.place) for move in flush.moves}
        at_once(self.flushes.close(flush, letters, resolved))
        self._watch(ANALYTICS, before, {place: self._analytics(place) for place in before})
        fresh = [one for one in letters if tuple(one.position) not in self._letters_of_analytics]
        self._letters_of_analytics |= {tuple(letter.position) for letter in fresh}
        self.store.dead_letters |= {(ANALYTICS, *letter.position): letter for letter in fresh}
        self.store.outbox.owe((), (), fresh)

    def reached(self, projection: str, place: Partition) -> int:
        """The next offset of a projection, whichever table its checkpoint is in."""
        if projection == ANALYTICS:
            return self._analytics(place).next_offset
        return self.store.checkpoints.get((projection, place), Checkpoint(0, 0)).next_offset

    def _analytics(self, place: Partition) -> Checkpoint:
        stand = self.flushes.stands.get(place)
        return Checkpoint(stand.next_offset, stand.epoch) if stand else Checkpoint(0, 0)

    def _stands(self, name: str, places: Sequence[Partition]) -> dict[Partition, Checkpoint]:
        return {place: at_once(self.store.checkpoint(name, place)) for place in places}

    def _watch(
        self,
        projection: str,
        before: dict[Partition, Checkpoint],
        after: dict[Partition, Checkpoint],
    ) -> None:
        for place, old in before.items():
            new = after[place]
            if new.next_offset < old.next_offset or new.epoch < old.epoch:
                self.world.bug(
                    f"the checkpoint of {projection} on {place} went from {old} to {new}"
                )


@dataclass
class ClickHouse:
    """Tables that grow, without transactions."""

    store: MemoryAppendStore
    months: dict[bytes, list[Values]] = field(default_factory=dict)

    def encode(self, table: AppendTable, rows: Sequence[Values]) -> bytes:
        block = self.store.encode(table, rows)
        self.months[block] = list(rows)
        return block

    def insert(self, table: AppendTable, block: bytes, token: str) -> None:
        at_once(self.store.send(table, block, token))

    def insert_part(self, table: AppendTable, block: bytes, token: str) -> None:
        """What is there of an insert that was stopped: some of its months, each as a whole."""
        rows = self.months[block]
        first = _month(table, rows[0])
        part = [row for row in rows if _month(table, row) == first]
        at_once(self.store.send(table, self.store.encode(table, part), token))


def _month(table: AppendTable, row: Values) -> object:
    for column, value in zip(table.columns, row, strict=True):
        if column.name == "time":
            return value.year, value.month
    return None

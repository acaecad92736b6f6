"""The in-memory store: the same port as Postgres, for tests, simulation and small tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from projections.batch import Batch, Checkpoint, DeadLetter, Keyed, Partition, keyed
from projections.columnar import rows_of
from projections.outbox import MemoryOutbox
from projections.projection import Projection
from projections.projector import Outcome, Projector
from projections.rows import Changes, Timer, add_up
from projections.store import Commit, Fenced, encoded
from projections.tables import Key, Row, Table, Want
from schemas.envelope import Draft, Event
from schemas.position import Position


class MemoryIndex:
    """First positions and unreadable records in memory; the latter are owed to the log, too."""

    def __init__(self, outbox: MemoryOutbox | None = None) -> None:
        self.first: dict[UUID, Position] = {}
        self.unreadable: dict[Position, DeadLetter] = {}
        self._outbox = outbox or MemoryOutbox({})

    async def judge(
        self,
        parts: Sequence[Keyed],
        unreadable: Sequence[DeadLetter],
        read_at_last: Sequence[Position] = (),
    ) -> list[frozenset[int]]:
        fresh = {letter.position: letter for letter in unreadable}
        fresh = {place: fresh[place] for place in fresh if place not in self.unreadable}
        self.unreadable |= fresh
        self._outbox.owe((), (), list(fresh.values()))
        return [
            frozenset(
                offset
                for offset, key in zip(part.offsets, part.keys, strict=True)
                if self.first.setdefault(UUID(bytes=key), at := Position(*part.place, offset)) != at
            )
            for part in parts
        ]


class MemoryStore:
    """Rows, checkpoints, derived events, timers and dead letters in dictionaries."""

    def __init__(self) -> None:
        #: Rows by table and load unit, as they are asked for.
        self._units: dict[tuple[Table[Any], Key], dict[Key, Row]] = {}
        self.checkpoints: dict[tuple[str, Partition], Checkpoint] = {}
        self.derived: list[Draft] = []
        self.timers: dict[tuple[str, str, str], Timer] = {}
        self.dead_letters: dict[tuple[str, str, int, int], DeadLetter] = {}
        self._open_refusals: set[tuple[str, UUID]] = set()
        self.versions: dict[str, int] = {}
        self._handed_over_from: dict[tuple[str, Partition], int] = {}
        self.outbox = MemoryOutbox(self.timers)

    def table(self, table: Table[Any]) -> list[Any]:
        """All rows, in the order of their keys."""
        rows = {
            key: row
            for (of, _), unit in self._units.items()
            if of is table
            for key, row in unit.items()
        }
        return [rows[key] for key in sorted(rows)]

    async def take(
        self, projection: str, places: Sequence[Partition]
    ) -> Mapping[Partition, Checkpoint]:
        for place in places:
            before = await self.checkpoint(projection, place)
            taken = Checkpoint(before.next_offset, before.epoch + 1)
            self.checkpoints[projection, place] = taken
            self._handed_over_from.pop((projection, place), None)
        return {place: self.checkpoints[projection, place] for place in places}

    def hand_over(self, projection: str, version: int) -> None:
        """What a rebuild does to the checkpoints when it swaps the tables."""
        self.versions[projection] = version
        for (name, place), before in self.checkpoints.items():
            if name == projection:
                self._handed_over_from.setdefault((name, place), before.epoch)
                self.checkpoints[name, place] = Checkpoint(before.next_offset, before.epoch + 1)

    async def regain(
        self, projection: str, held: Mapping[Partition, Checkpoint]
    ) -> Mapping[Partition, Checkpoint]:
        back = {}
        for place, mine in held.items():
            now = self.checkpoints.get((projection, place), mine)
            since = self._handed_over_from.get((projection, place), now.epoch)
            if since <= mine.epoch < now.epoch:
                back[place] = now
        return back

    async def version(self, projection: str, version: int) -> int:
        return self.versions.setdefault(projection, version)

    async def checkpoint(self, projection: str, place: Partition) -> Checkpoint:
        return self.checkpoints.get((projection, place), Checkpoint(0, 0))

    async def load(self, wants: Sequence[Want]) -> Mapping[Want, Sequence[Row]]:
        return {want: self._matching(want) for want in wants}

    def _matching(self, want: Want) -> list[Row]:
        depth = len(want.prefix)
        return [
            row
            for key, row in self._units.get(
                (want.table, want.prefix[: want.table.unit]), {}
            ).items()
            if key[:depth] == want.prefix
            and (want.low is None or key[depth] >= want.low)
            and (want.high is None or key[depth] <= want.high)
        ]

    async def refused(self, projection: str, keys: Sequence[UUID]) -> set[UUID]:
        return {key for key in keys if (projection, key) in self._open_refusals}

    async def commit(self, commit: Commit) -> None:
        for move in commit.moves:
            now = await self.checkpoint(commit.projection, move.place)
            if now != Checkpoint(move.start, move.epoch):
                raise Fenced(f"{commit.projection} lost {move.place}: it is at {now}")
        events = encoded(commit.changes.derived)
        commit.changes.unfold()
        for table, changes in commit.changes.rows.items():
            for key, row in changes.items():
                rows = self._unit(table, key)
                if row is None:
                    rows.pop(key, None)
                else:
                    rows[key] = row
        self._keep_written_only(commit.changes)
        self.derived += commit.changes.derived
        self._keep_timers(commit)
        self.outbox.owe(commit.changes.derived, events, self._keep_dead_letters(commit))
        for move in commit.moves:
            self.checkpoints[commit.projection, move.place] = Checkpoint(move.end, move.epoch)

    def _keep_written_only(self, changes: Changes) -> None:
        for table, sums in changes.sums.items():
            for key, row in sums.items():
                add_up(table, self._unit(table, key), row)
        for table, appended in changes.appended.items():
            self._append(table, appended)
        for table, columns in changes.columns.items():
            for values in columns:
                self._append(table, rows_of(table, values))

    def _append(self, table: Table[Any], rows: Sequence[Row]) -> None:
        for row in rows:
            key = table.key_of(row)
            self._unit(table, key)[key] = row

    def _unit(self, table: Table[Any], key: Key) -> dict[Key, Row]:
        return self._units.setdefault((table, key[: table.unit]), {})

    def _keep_timers(self, commit: Commit) -> None:
        for (user_id, name), timer in commit.changes.timers.items():
            key = (commit.projection, user_id, name)
            if timer.due is None:
                self.timers.pop(key, None)
            else:
                self.timers[key] = timer

    def _keep_dead_letters(self, commit: Commit) -> list[DeadLetter]:
        """Returns those that were not known yet."""
        fresh = []
        for letter in commit.dead_letters:
            place = (letter.projection, *letter.position)
            if self.dead_letters.setdefault(place, letter) is letter:
                fresh.append(letter)
                if letter.event_key is not None:
                    self._open_refusals.add((letter.projection, letter.event_key))
        self._open_refusals -= {(commit.projection, key) for key in commit.resolved}
        return fresh


async def run(
    projection: Projection,
    batches: Sequence[Sequence[Event]],
    store: MemoryStore | None = None,
    index: MemoryIndex | None = None,
) -> MemoryStore:
    """Fold batches of events through the real projector into memory.

    Each batch holds events of one partition in log order; batches are applied in the given
    order. Duplicates are found as they are live.
    """
    store = store or MemoryStore()
    index = index or MemoryIndex()
    projector = Projector(projection, store)
    for events in batches:
        await apply_to(projector, events, index)
    return store


async def apply_to(projector: Projector, events: Sequence[Event], index: MemoryIndex) -> Outcome:
    """Give a projector one batch of events of one partition, judged by the index.

    Offsets that are left out, at the log's beginning too, are of no event: markers of transactions,
    and records of those that were aborted.
    """
    if not events:
        return Outcome()
    topic, partition, start = events[0].position
    place = Partition(topic, partition)
    if place not in projector.checkpoints:
        await projector.take([place])
    (repeated,) = await index.judge([keyed(place, events)], ())
    batch = Batch(
        topic=topic,
        partition=partition,
        start=min(start, projector.checkpoints[place].next_offset),
        end=events[-1].position.offset + 1,
        events=events,
        duplicates=repeated,
    )
    return await projector.apply([batch])

"""The heart: one batch becomes one commit."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from uuid import UUID

from projections.backoff import Report, Sleep, until_available
from projections.batch import Batch, Checkpoint, DeadLetter, Move, Partition
from projections.projection import FoldsColumns, Foresees, Projection
from projections.rows import NotLoaded, Refused, Rows
from projections.store import Commit, Fenced, OtherVersion, RowsRefused, Store, Unavailable
from projections.tables import Want
from schemas.envelope import Event


class Hole(Exception):
    """A batch begins beyond the checkpoint: what lies between would be lost."""


class Fate(Enum):
    """What became of an event."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    DEAD_LETTER = "dead_letter"
    SKIPPED = "skipped"


@dataclass
class Outcome:
    """What became of a batch: how many events had which fate, and why some were refused."""

    fates: dict[Fate, int] = field(default_factory=lambda: dict.fromkeys(Fate, 0))
    dead_letters: list[DeadLetter] = field(default_factory=list)
    resolved: set[UUID] = field(default_factory=set)

    def add(self, other: Outcome) -> None:
        for fate, count in other.fates.items():
            self.fates[fate] += count
        self.dead_letters += other.dead_letters
        self.resolved |= other.resolved


class Projector:
    """Runs a projection on the partitions that one lane owns.

    ``apply`` is the whole way of a batch:

    1. drop what lies before the checkpoint,
    2. load the rows that the events want,
    3. fold the events in log order; each one's fate is a value,
    4. commit rows, derived events, timers, dead letters and the checkpoint together,
    5. or, if the store refuses a row, halve the batch until the one bad event is found.
    """

    def __init__(
        self,
        projection: Projection,
        store: Store,
        sleep: Sleep = asyncio.sleep,
        report: Report | None = None,
    ) -> None:
        self.projection = projection
        self.checkpoints: dict[Partition, Checkpoint] = {}
        self._store = store
        self._sleep = sleep
        self._report = report
        self._rows = Rows()
        # Asked once: to look for a protocol's members takes microseconds.
        self._columnar = projection if isinstance(projection, FoldsColumns) else None
        self._foreseeing = projection if isinstance(projection, Foresees) else None

    async def take(self, places: Sequence[Partition]) -> None:
        """Become the owner of partitions; what was cached of the old times is forgotten.

        Raises:
            OtherVersion: the tables are not of this code's version.
        """
        self._rows.clear()
        name = self.projection.name
        self.checkpoints |= await until_available(
            f"{name} takes partitions",
            lambda: self._store.take(name, places),
            self._sleep,
            self._report,
        )
        await self._check_version()

    async def regain(self) -> bool:
        """After a rebuild has swapped the tables: go on with the new ones.

        Returns whether any partition was handed over to this owner; then a batch that was fenced
        may be applied again. A partition that somebody else has taken stays lost.

        Raises:
            OtherVersion: the new tables are not of this code's version.
        """
        self._rows.clear()
        name = self.projection.name
        back = await until_available(
            f"{name} asks for what a rebuild handed over",
            lambda: self._store.regain(name, self.checkpoints),
            self._sleep,
            self._report,
        )
        self.checkpoints |= back
        if back:
            await self._check_version()
        return bool(back)

    async def _check_version(self) -> None:
        # After taking, not before: a swap that comes later raises the epoch, and is noticed.
        name, code = self.projection.name, self.projection.version
        tables = await until_available(
            f"{name} asks for the version of its tables",
            lambda: self._store.version(name, code),
            self._sleep,
            self._report,
        )
        if tables != code:
            raise OtherVersion(name, code, tables)

    def let_go(self, place: Partition) -> None:
        """Another worker owns the partition now."""
        self.checkpoints.pop(place, None)
        self._rows.clear()

    async def apply(self, batches: Sequence[Batch]) -> Outcome:
        """Fold and commit; returns when the store has it all.

        Raises:
            Fenced: a partition has another owner now; nothing of these batches was written.
        """
        rest = self._from_checkpoints(batches)
        if not rest:
            return Outcome()
        try:
            outcome = await self._fold(rest)
            await self._commit(rest, outcome)
        except (Fenced, asyncio.CancelledError):
            self._rows.clear()
            raise
        except RowsRefused as error:
            self._rows.clear()
            return await self._apply_halved(rest, str(error))
        self._rows.settle()
        for batch in rest:
            self.checkpoints[batch.place] = replace(
                self.checkpoints[batch.place], next_offset=batch.end
            )
        return outcome

    def _from_checkpoints(self, batches: Sequence[Batch]) -> list[Batch]:
        """The batches without what is applied already; each begins where the last one ended."""
        reached: dict[Partition, int] = {}
        rest = []
        for batch in batches:
            checkpoint = self.checkpoints.get(batch.place)
            if checkpoint is None:
                raise Fenced(f"{self.projection.name} does not own {batch.place}")
            start = reached.get(batch.place, checkpoint.next_offset)
            if batch.start > start:
                raise Hole(f"{self.projection.name} is at {batch.place}:{start}, not {batch.start}")
            if batch.end > start:
                reached[batch.place] = batch.end
                rest.append(_cut(batch, start))
        return rest

    async def _fold(self, batches: Sequence[Batch]) -> Outcome:
        outcome = Outcome()
        await self._load_for([batch for batch in batches if not self._is_columnar(batch)])
        # One set for all batches of the commit: what one of them refuses or settles, the next
        # must know, and the store does not know it yet.
        refused = await self._refused_before(batches)
        for batch in batches:
            if self._is_columnar(batch):
                if self._fold_columns(batch):
                    outcome.fates[Fate.APPLIED] += len(batch.events)
                    continue
                await self._load_for([batch])
            self._rows.unfold()
            await self._fold_each(batch, refused, outcome)
        return outcome

    async def _load_for(self, batches: Sequence[Batch]) -> None:
        """Have in memory what the events of these batches want, by as few questions as possible."""
        projection, wanted = self.projection, self.projection.types
        mine = [event for batch in batches for event in batch.events if event.type in wanted]
        wants = itertools.chain.from_iterable(projection.wants(event) for event in mine)
        await self._load(self._rows.missing(wants))
        if self._foreseeing is not None:
            await self._load(self._rows.missing(self._foreseeing.foresee(self._rows, mine)))

    async def _fold_each(self, batch: Batch, refused: set[UUID], outcome: Outcome) -> None:
        wanted, fates = self.projection.types, outcome.fates
        for event in batch.events:
            if event.type not in wanted:
                fates[Fate.SKIPPED] += 1
                continue
            # A call that mostly need not wait: a coroutine for each event would cost more.
            while isinstance(found := self._fold_event(event, batch, refused, outcome), Want):
                await self._load([found])
            fates[found] += 1

    def _is_columnar(self, batch: Batch) -> bool:
        projection, columns = self._columnar, batch.columns
        return (
            columns is not None
            and not batch.duplicates
            and projection is not None
            and columns.event_type.name in projection.column_types
        )

    def _fold_columns(self, batch: Batch) -> bool:
        assert self._columnar is not None and batch.columns is not None
        try:
            self._columnar.fold_columns(self._rows, batch.columns)
        except Exception:  # noqa: BLE001 - which event it was is found by folding each by itself
            self._rows.discard()
            return False
        self._rows.accept()
        return True

    async def _refused_before(self, batches: Sequence[Batch]) -> set[UUID]:
        keys = [
            event.key
            for batch in batches
            if batch.duplicates
            for event in batch.events
            if event.position.offset in batch.duplicates
        ]
        if not keys:
            return set()
        name = self.projection.name
        return await until_available(
            f"{name} asks for its dead letters",
            lambda: self._store.refused(name, keys),
            self._sleep,
            self._report,
        )

    def _fold_event(
        self, event: Event, batch: Batch, refused: set[UUID], outcome: Outcome
    ) -> Fate | Want:
        """The event's fate, or rows that must be loaded before it is folded again."""
        repeated = bool(batch.duplicates) and event.position.offset in batch.duplicates
        if repeated and event.key not in refused:
            return Fate.DUPLICATE
        try:
            self.projection.fold(self._rows, event)
        except NotLoaded as unknown:
            self._rows.discard()
            return unknown.want
        except Refused as refusal:
            return self._refuse(event, batch, refused, outcome, str(refusal))
        except Exception as bug:  # noqa: BLE001 - a fold that fails must not stop the line
            reason = f"{type(bug).__name__}: {bug}"
            return self._refuse(event, batch, refused, outcome, reason)
        self._rows.accept()
        if repeated:
            refused.discard(event.key)
            outcome.resolved.add(event.key)
        return Fate.APPLIED

    def _refuse(
        self, event: Event, batch: Batch, refused: set[UUID], outcome: Outcome, reason: str
    ) -> Fate:
        self._rows.discard()
        refused.add(event.key)
        outcome.dead_letters.append(self._dead_letter(event, batch, reason))
        return Fate.DEAD_LETTER

    def _dead_letter(self, event: Event, batch: Batch, reason: str) -> DeadLetter:
        return DeadLetter(
            projection=self.projection.name,
            position=event.position,
            reason=reason,
            record=batch.record_at(event.position.offset),
            event_key=event.key,
            event_id=event.id,
            user_id=event.user_id,
        )

    async def _load(self, wants: Sequence[object]) -> None:
        if not wants:
            return
        loaded = await until_available(
            f"{self.projection.name} loads rows",
            lambda: self._store.load(wants),  # type: ignore[arg-type]
            self._sleep,
            self._report,
        )
        for want, rows in loaded.items():
            self._rows.load(want, rows)

    async def _commit(self, batches: Sequence[Batch], outcome: Outcome) -> None:
        commit = Commit(
            projection=self.projection.name,
            version=self.projection.version,
            moves=tuple(self._moves(batches)),
            changes=self._rows.changes,
            dead_letters=outcome.dead_letters,
            resolved=outcome.resolved,
        )
        unknown = False

        async def attempt() -> None:
            nonlocal unknown
            if unknown and await self._is_committed(commit.moves):
                return
            try:
                await self._store.commit(commit)
            except Unavailable:
                unknown = True
                raise
            except Fenced:
                # The attempt whose outcome was unknown may have taken effect only now.
                if not unknown or not await self._is_committed(commit.moves):
                    raise

        await until_available(f"{commit.projection} commits", attempt, self._sleep, self._report)

    def _moves(self, batches: Sequence[Batch]) -> Iterator[Move]:
        starts: dict[Partition, int] = {}
        ends: dict[Partition, int] = {}
        for batch in batches:
            starts.setdefault(batch.place, batch.start)
            ends[batch.place] = batch.end
        for place, start in starts.items():
            epoch = self.checkpoints[place].epoch
            yield Move(place.topic, place.partition, start, ends[place], epoch)

    async def _is_committed(self, moves: Sequence[Move]) -> bool:
        """After a commit with an unknown outcome the checkpoint tells what happened."""
        move = moves[0]
        now = await self._store.checkpoint(self.projection.name, move.place)
        if now.epoch != move.epoch or now.next_offset not in (move.start, move.end):
            raise Fenced(f"{self.projection.name} lost {move.place} at {now.next_offset}")
        return now.next_offset == move.end

    async def _apply_halved(self, batches: Sequence[Batch], reason: str) -> Outcome:
        """Narrow down to the event whose rows the store refuses; the others are applied."""
        if len(batches) == 1 and len(batches[0].events) <= 1:
            return await self._bury(batches[0], reason)
        outcome = Outcome()
        for half in _halves(batches):
            outcome.add(await self.apply(half))
        return outcome

    async def _bury(self, batch: Batch, reason: str) -> Outcome:
        outcome = Outcome()
        for event in batch.events:
            outcome.dead_letters.append(self._dead_letter(event, batch, reason))
            outcome.fates[Fate.DEAD_LETTER] += 1
        await self._commit([batch], outcome)
        self.checkpoints[batch.place] = replace(
            self.checkpoints[batch.place], next_offset=batch.end
        )
        return outcome


def _cut(batch: Batch, start: int) -> Batch:
    if start == batch.start:
        return batch
    events = batch.events
    if events and events[0].position.offset < start:
        events = [event for event in events if event.position.offset >= start]
    return replace(batch, start=start, events=events, columns=None)


def _halves(batches: Sequence[Batch]) -> tuple[Sequence[Batch], Sequence[Batch]]:
    if len(batches) > 1:
        middle = len(batches) // 2
        return batches[:middle], batches[middle:]
    batch = batches[0]
    middle = len(batch.events) // 2
    cut = batch.events[middle].position.offset
    halves = batch.events[:middle], batch.events[middle:]
    first = replace(batch, end=cut, events=halves[0], columns=None)
    return [first], [replace(batch, start=cut, events=halves[1], columns=None)]

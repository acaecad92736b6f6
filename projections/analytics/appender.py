"""The append projection: every partition of this process, in one stream of flushes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from projections.analytics.append import AppendStore, FlushLog, Taken
from projections.analytics.flusher import Flusher, Part
from projections.analytics.gather import ANALYTICS, Gathered, from_offset, gather
from projections.analytics.repair import Reread, repair
from projections.analytics.sending import Sending
from projections.analytics.tables import EVENTS
from projections.backoff import Report, Sleep, until_available
from projections.batch import Batch, Checkpoint, Move, Partition
from projections.projector import Hole
from projections.store import OtherVersion
from schemas.envelope import uuid7
from schemas.topics import event_topics

#: Everything that carries events.
TOPICS = tuple(topic.name for topic in event_topics())

Applied = Callable[[Batch, Gathered], None]
T = TypeVar("T")

logger = logging.getLogger(__name__)


def _unseen(batch: Batch, gathered: Gathered) -> None:
    """For those who don't count."""


class Analytics:
    """Appends every event to the store, exactly once.

    A batch is released when its rows wait for a flush and there is room for more; the checkpoint
    moves when the flush is done, which may be later. So reading goes on while rows are sent, and
    stops while the store is behind or away. A crash in between costs nothing but reading again
    from the checkpoint.
    """

    name = ANALYTICS
    topics = TOPICS

    #: Raised when rows of the same events become others; a rebuild then makes the new tables.
    version = 1

    def __init__(
        self,
        store: AppendStore,
        log: FlushLog,
        reread: Reread,
        applied: Applied = _unseen,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        new_id: Callable[[], str] = uuid7,
        report: Report | None = None,
    ) -> None:
        self._store = store
        self._log = log
        self._reread = reread
        self._applied = applied
        self._sleep = sleep
        self._report = report
        self._sending = Sending(store, sleep, report)
        self._flusher = Flusher(
            log, self._sending, self._lost, self._regain, clock, sleep, new_id, report
        )
        self._flushing: asyncio.Task[None] | None = None
        #: Up to where the store has rows of a partition that no flush speaks of.
        self._ahead: Mapping[Partition, int] = {}
        #: How far each partition is gathered (not: flushed), with the epoch of its owner.
        self._gathered: dict[Partition, Checkpoint] = {}

    @property
    def pending_rows(self) -> int:
        """Rows that wait for the next flush; what metrics show."""
        return self._flusher.pending_rows

    async def take(self, places: Sequence[Partition]) -> Mapping[Partition, int]:
        """Own these partitions and no others; returns the offsets to read from.

        Flushes that were left open are finished first.

        Raises:
            OtherVersion: the tables are not of this code's version.
        """
        await self.abandon()
        taken = await self._until(f"takes {len(places)} partitions", lambda: self._take(places))
        self._gathered = {
            place: Checkpoint(found.next_offset, found.epoch) for place, found in taken.items()
        }
        self._flushing = asyncio.create_task(self._flusher.run(), name="analytics flushes")
        return {place: found.next_offset for place, found in taken.items()}

    async def append(self, batch: Batch) -> None:
        """Take in a batch; returns, and releases it, once there is room for more.

        Raises:
            Hole: the batch does not follow the one before; the worker must read again.
            Exception: what made the flushing fail; the worker must stop.
        """
        try:
            await self._append(batch)
        finally:
            batch.release()

    async def drained(self) -> None:
        """Return when everything that was appended is in the store.

        Raises:
            Exception: what made the flushing fail.
        """
        if self._flushing is not None:
            await self._or_failure(self._flusher.drained())

    async def close(self) -> None:
        """Write what is pending and let go of all partitions; if cancelled, let go at once.

        Raises:
            Exception: what made the flushing fail.
        """
        try:
            await self.drained()
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """Let go of all partitions; what was not flushed is read again from the checkpoints."""
        self._gathered = {}
        self._flusher.clear()
        flushing, self._flushing = self._flushing, None
        if flushing is not None:
            flushing.cancel()
            await asyncio.gather(flushing, return_exceptions=True)

    async def _append(self, batch: Batch) -> None:
        at = self._gathered.get(batch.place)
        if at is None or batch.end <= at.next_offset:
            return
        if batch.start > at.next_offset:
            raise Hole(f"{ANALYTICS} is at {batch.place}:{at.next_offset}, not {batch.start}")
        batch = from_offset(batch, at.next_offset)
        gathered = gather(batch, refused=await self._refused(batch))
        now = self._gathered.get(batch.place)
        if now is None or now.next_offset != at.next_offset:
            return
        at = now
        self._gathered[batch.place] = Checkpoint(batch.end, at.epoch)
        move = Move(batch.topic, batch.partition, batch.start, batch.end, at.epoch)
        self._applied(batch, gathered)
        ahead = batch.start < self._ahead.get(batch.place, 0)
        await self._or_failure(self._flusher.add(Part(move, batch, gathered, ahead)))

    async def _refused(self, batch: Batch) -> set[UUID]:
        keys = [event.key for event in batch.events if event.position.offset in batch.duplicates]
        if not keys:
            return set()
        # Before the store is asked: what is closed meanwhile is in its answer, or in these.
        verdicts = self._flusher.verdicts()
        found = await self._until(
            "asks for its dead letters", lambda: self._log.refused(ANALYTICS, keys)
        )
        return {key for key in keys if verdicts.get(key, key in found)}

    async def _take(self, places: Sequence[Partition]) -> dict[Partition, Taken]:
        taken = dict(await self._log.take(ANALYTICS, places))
        while flushes := {found.flush for found in taken.values() if found.flush is not None}:
            for flush in sorted(flushes):
                await repair(flush, self._log, self._store, self._sending, self._reread)
            tied = [place for place, found in taken.items() if found.flush is not None]
            taken |= await self._log.take(ANALYTICS, tied)
        await self._check_version()
        self._ahead = await self._look_ahead(taken)
        return taken

    async def _check_version(self) -> None:
        # After taking, not before: a swap that comes later raises the epoch, and is noticed.
        tables = await self._log.version(ANALYTICS, self.version)
        if tables != self.version:
            raise OtherVersion(ANALYTICS, self.version, tables)

    async def _regain(self, places: Collection[Partition]) -> Mapping[Partition, Checkpoint]:
        """After a rebuild has swapped the tables: go on with the new ones.

        What is gathered stays: its rows go into the new tables, from the same offsets.
        """
        # Tables that are being swapped are waited for: until then nothing is handed over.
        await self._until("waits for the swap", self._check_version)
        held = {place: at for place in places if (at := self._gathered.get(place)) is not None}
        back = await self._until(
            "asks for what a rebuild handed over", lambda: self._log.regain(ANALYTICS, held)
        )
        await self._until("asks for the version of its tables", self._check_version)
        for place, found in back.items():
            if (at := self._gathered.get(place)) is not None:
                self._gathered[place] = Checkpoint(at.next_offset, found.epoch)
        if back:
            logger.info("%s goes on with rebuilt tables", ANALYTICS)
        return back

    async def _look_ahead(self, taken: Mapping[Partition, Taken]) -> Mapping[Partition, int]:
        """Rows beyond the checkpoints: their flushes were forgotten when these were restored.

        They are right and stay, so that sums are right at every moment; what follows the
        checkpoints is compared with them and only what is missing is sent.
        """
        offsets = {place: found.next_offset for place, found in taken.items()}
        # Each event has a row there, sent before those of the other tables.
        ahead = await self._store.ahead(EVENTS, offsets) if offsets else {}
        for place, end in sorted(ahead.items()):
            logger.warning(
                "%s:%d: the store has rows up to offset %d, beyond the checkpoint %d; the database"
                " of the checkpoints was restored. They stay, what is missing is sent",
                *place,
                end - 1,
                offsets[place],
            )
        return ahead

    async def _or_failure(self, doing: Coroutine[Any, Any, None]) -> None:
        """Wait for it, or for the end of the flushing, without which it would never come."""
        task = asyncio.ensure_future(doing)
        ends: set[asyncio.Future[None]] = {task}
        if self._flushing is not None:
            ends.add(self._flushing)
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._flushing is not None and self._flushing.done():
                self._flushing.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _until(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        return await until_available(f"{ANALYTICS} {what}", call, self._sleep, self._report)

    def _lost(self, move: Move) -> None:
        at = self._gathered.get(move.place)
        if at is not None and at.epoch == move.epoch:
            del self._gathered[move.place]
            self._flusher.drop(move.place)

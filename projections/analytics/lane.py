"""The lane of the append projection: every partition of this process, in one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from projections.analytics.append import AppendStore, FlushLog, Taken
from projections.analytics.flusher import Flusher, Part
from projections.analytics.gather import ANALYTICS, Gathered, from_offset, gather
from projections.analytics.repair import Reread, repair
from projections.analytics.sending import Sending
from projections.backoff import Sleep, until_available
from projections.batch import Batch, Checkpoint, Move, Partition
from schemas.topics import event_topics

#: Everything that carries events.
TOPICS = tuple(topic.name for topic in event_topics())

Applied = Callable[[Batch, Gathered], None]

logger = logging.getLogger(__name__)


class Analytics:
    """Appends every event to the store, exactly once; used as lanes are.

    A batch is released when its rows wait for a flush and there is room for more; the checkpoint
    moves when the flush is done, which may be later. So reading goes on while rows are sent, and
    stops while the store is behind or away.
    """

    name = ANALYTICS
    topics = TOPICS

    def __init__(
        self,
        store: AppendStore,
        log: FlushLog,
        reread: Reread,
        applied: Applied = lambda batch, gathered: None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._log = log
        self._reread = reread
        self._applied = applied
        self._sleep = sleep
        self._sending = Sending(store, sleep)
        self._flusher = Flusher(log, self._sending, self._lost, sleep=sleep)
        self._batches: asyncio.Queue[Batch] = asyncio.Queue()
        #: How far each partition is gathered (not: flushed), with the epoch of its owner.
        self._gathered: dict[Partition, Checkpoint] = {}

    async def take(self, place: Partition) -> int:
        """Become the owner of a partition; returns the offset to read from.

        A flush that was left open is finished first.
        """
        self.let_go(place)
        taken = await until_available(
            f"{ANALYTICS} takes {place}", lambda: self._take(place), self._sleep
        )
        self._gathered[place] = Checkpoint(taken.next_offset, taken.epoch)
        return taken.next_offset

    def let_go(self, place: Partition) -> None:
        """Another worker may own the partition from now on; what is pending is dropped."""
        self._gathered.pop(place, None)
        self._flusher.drop(place)

    def offer(self, batch: Batch) -> None:
        """Queue a batch; its ``release`` is called once there is room for more."""
        self._batches.put_nowait(batch)

    async def run(self) -> None:
        """Gather and flush until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._gather(), name="analytics gathers")
            tasks.create_task(self._flusher.run(), name="analytics flushes")

    async def drained(self) -> None:
        """Return when everything offered so far is in the store; for an orderly end."""
        await self._batches.join()
        await self._flusher.drained()

    async def _gather(self) -> None:
        while True:
            batch = await self._batches.get()
            try:
                await self._apply(batch)
            finally:
                batch.release()
                self._batches.task_done()

    async def _apply(self, batch: Batch) -> None:
        at = self._gathered.get(batch.place)
        if at is None or batch.end <= at.next_offset:
            return
        # Ranges join without holes: offsets that hold no event belong to the one after them.
        batch = from_offset(batch, at.next_offset)
        refused = await self._refused(batch)
        gathered = gather(batch, refused=refused)
        if self._gathered.get(batch.place) != at:
            return
        self._gathered[batch.place] = Checkpoint(batch.end, at.epoch)
        move = Move(batch.topic, batch.partition, batch.start, batch.end, at.epoch)
        self._applied(batch, gathered)
        await self._flusher.add(Part(move, batch, gathered))

    async def _refused(self, batch: Batch) -> set[UUID]:
        keys = [event.key for event in batch.events if event.position.offset in batch.duplicates]
        if not keys:
            return set()
        return await until_available(
            f"{ANALYTICS} asks for its dead letters",
            lambda: self._log.refused(ANALYTICS, keys),
            self._sleep,
        )

    async def _take(self, place: Partition) -> Taken:
        taken = await self._log.take(ANALYTICS, place)
        while taken.flush is not None:
            await repair(taken.flush, self._log, self._store, self._sending, self._reread)
            taken = await self._log.take(ANALYTICS, place)
        return taken

    def _lost(self, move: Move) -> None:
        at = self._gathered.get(move.place)
        if at is not None and at.epoch == move.epoch:
            self.let_go(move.place)

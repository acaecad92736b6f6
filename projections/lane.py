"""A lane: one projection on one partition of the people, batch after batch, one at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from projections.batch import Batch, Partition
from projections.projector import Outcome, Projector
from projections.store import Fenced

#: Events of one commit at most: larger transactions save work in Postgres, but a reader waits
#: for the whole of one, and a crash repeats it.
COMMIT_EVENTS_MAX = 5_000

COMMANDS = "app.commands"

Reached = Callable[[Mapping[Partition, int]], Awaitable[None]]
Applied = Callable[[list[Batch], Outcome], None]

logger = logging.getLogger(__name__)


class Lane:
    """Feeds a projector with the batches of the partitions that share a number.

    Commands go first. A batch of a projection that follows commands waits until those that were
    in the log when it was fetched are applied, so that a rule or a preference meets the same
    events in every run. What is pending when a commit ends makes the next one: small batches
    when idle, large ones when behind, without a timer.
    """

    def __init__(self, projector: Projector, reached: Reached, applied: Applied) -> None:
        self._projector = projector
        self._reached = reached
        self._applied = applied
        self._pending: dict[str, deque[Batch]] = {}
        self._changed = asyncio.Event()

    def offer(self, batch: Batch) -> None:
        """Queue a batch; its ``release`` is called when it is applied or dropped."""
        self._pending.setdefault(batch.topic, deque()).append(batch)
        self._changed.set()

    async def take(self, place: Partition) -> int:
        """Become the owner of a partition; returns the offset to read from."""
        self._drop(place)
        return (await self._projector.take(place)).next_offset

    def let_go(self, place: Partition) -> None:
        """Another worker may own the partition from now on; what is pending is dropped."""
        self._drop(place)
        self._projector.let_go(place)

    async def run(self) -> None:
        """Apply batches until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while batches := self._next():
                await self._apply(batches)

    async def _apply(self, batches: list[Batch]) -> None:
        try:
            if self._projector.projection.follows_commands:
                await self._reached(self._foreign_commands(batches))
            outcome = await self._projector.apply(batches)
            self._applied(batches, outcome)
        except Fenced as loss:
            logger.warning("fenced: %s", loss)
            for place in {batch.place for batch in batches}:
                self.let_go(place)
        finally:
            for batch in batches:
                batch.release()

    def _next(self) -> list[Batch]:
        chosen: list[Batch] = []
        count = 0
        for topic in sorted(self._pending, key=lambda name: (name != COMMANDS, name)):
            queue = self._pending[topic]
            while queue and (count < COMMIT_EVENTS_MAX or not chosen):
                if not self._is_ready(queue[0], chosen):
                    break
                batch = queue.popleft()
                count += len(batch.events)
                chosen.append(batch)
        return chosen

    def _is_ready(self, batch: Batch, chosen: list[Batch]) -> bool:
        if batch.topic == COMMANDS or not self._projector.projection.follows_commands:
            return True
        place = Partition(COMMANDS, batch.partition)
        checkpoint = self._projector.checkpoints.get(place)
        if checkpoint is None:
            return True
        reached = checkpoint.next_offset
        for other in chosen:
            if other.place == place:
                reached = max(reached, other.end)
        return reached >= batch.commands_end.get(place, 0)

    def _foreign_commands(self, batches: list[Batch]) -> dict[Partition, int]:
        """Ends of command partitions that other lanes read and these batches wait for."""
        return {
            place: end
            for batch in batches
            if batch.topic != COMMANDS
            for place, end in batch.commands_end.items()
            if place not in self._projector.checkpoints
        }

    def _drop(self, place: Partition) -> None:
        for batch in self._pending.get(place.topic, ()):
            if batch.place == place:
                batch.release()
        self._pending.pop(place.topic, None)

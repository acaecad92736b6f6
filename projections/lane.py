"""A lane: one projection on all partitions that it can share a commit of, batch after batch."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from projections.batch import Batch, Partition
from projections.projector import Outcome, Projector
from projections.store import Fenced

#: Events of one commit at most: larger transactions save work in Postgres, but a reader waits
#: for the whole of one, and a crash repeats it.
COMMIT_EVENTS_MAX = 5_000

COMMANDS = "app.commands"

Reached = Callable[[Mapping[Partition, int]], Awaitable[None]]
Applied = Callable[[Sequence[Batch], Outcome], None]

logger = logging.getLogger(__name__)


class Lane:
    """Feeds a projector with the batches of the partitions that it has taken.

    A lane lives as long as an assignment. Commands go first: a batch of a projection that
    follows commands waits until those that were in the log when it was fetched are applied, so
    that a rule or a preference meets the same events in every run. What is pending when a commit
    ends makes the next one, in the order in which it came: small batches when idle, large ones
    when behind, without a timer.
    """

    def __init__(self, projector: Projector, reached: Reached, applied: Applied) -> None:
        self.projector = projector
        self._reached = reached
        self._applied = applied
        self._commands: deque[Batch] = deque()
        self._pending: deque[Batch] = deque()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        #: Whether it waits for commands of other partitions.
        self.waits = False

    def offer(self, batch: Batch) -> None:
        """Queue a batch; its ``release`` is called when it is applied or dropped."""
        if self._closing or batch.place not in self.projector.checkpoints:
            batch.release()
            return
        (self._commands if batch.topic == COMMANDS else self._pending).append(batch)
        self._changed.set()

    async def run(self) -> None:
        """Apply batches until cancelled.

        Raises:
            Hole: the batches do not follow each other; the worker must read again.
            OtherVersion: a rebuild has swapped in tables that are not of this code's version.
        """
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                while not self._closing and (batches := self._next()):
                    await self._apply(batches)
        finally:
            self._drop([*self._commands, *self._pending])

    async def close(self) -> None:
        """Accept nothing more and return when the batch in hand is committed."""
        self._closing = True
        await self._idle.wait()

    async def _apply(self, batches: list[Batch]) -> None:
        self._idle.clear()
        try:
            if self.projector.projection.follows_commands:
                self.waits = True
                await self._reached(self._foreign_commands(batches))
                self.waits = False
            await self._fold(batches)
        finally:
            self.waits = False
            self._drop(batches)
            self._idle.set()

    async def _fold(self, batches: Sequence[Batch]) -> None:
        while True:
            try:
                self._applied(batches, await self.projector.apply(batches))
                return
            except Fenced as loss:
                # Either another worker has the partition, or a rebuild has swapped the tables
                # and handed it over to whoever had it.
                if not await self.projector.regain():
                    await self._fold_held(batches, loss)
                    return
                logger.info("%s goes on with rebuilt tables", self.projector.projection.name)

    async def _fold_held(self, batches: Sequence[Batch], loss: Fenced) -> None:
        """Some of the partitions are another worker's now: go on with the others.

        Those of one number always have the same owner, and are what waits for one another.
        """
        numbers = {batch.partition for batch in batches}
        if len(numbers) == 1:
            logger.warning("fenced: %s", loss)
            for place in {batch.place for batch in batches}:
                self.projector.let_go(place)
            return
        for number in sorted(numbers):
            await self._fold([batch for batch in batches if batch.partition == number])

    def _next(self) -> list[Batch]:
        chosen: list[Batch] = []
        count = 0
        while self._commands and count < COMMIT_EVENTS_MAX:
            chosen.append(self._commands.popleft())
            count += len(chosen[-1].events)
        left: list[Batch] = []
        unready: set[Partition] = set()
        while self._pending and (count < COMMIT_EVENTS_MAX or not chosen):
            batch = self._pending.popleft()
            if batch.place in unready or not self._is_ready(batch, chosen):
                unready.add(batch.place)
                left.append(batch)
            else:
                chosen.append(batch)
                count += len(batch.events)
        self._pending.extendleft(reversed(left))
        return chosen

    def _is_ready(self, batch: Batch, chosen: list[Batch]) -> bool:
        if not self.projector.projection.follows_commands:
            return True
        place = Partition(COMMANDS, batch.partition)
        checkpoint = self.projector.checkpoints.get(place)
        if checkpoint is None:
            return True
        reached = checkpoint.next_offset
        for other in chosen:
            if other.place == place:
                reached = max(reached, other.end)
        return reached >= batch.commands_end.get(place, 0)

    def _foreign_commands(self, batches: Sequence[Batch]) -> dict[Partition, int]:
        """Ends of command partitions that other lanes read and these batches wait for."""
        return {
            place: end
            for batch in batches
            if batch.topic != COMMANDS
            for place, end in batch.commands_end.items()
            if place not in self.projector.checkpoints
        }

    def _drop(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            batch.release()

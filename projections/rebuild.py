"""Making the tables of a projection anew from the log while the old ones go on serving.

The new tables stand beside the old ones and have checkpoints of their own, so that a rebuild that
was killed goes on from them. They are filled up to where the serving ones stand; then commits of
the serving ones are held, what is left is folded, and both are swapped. Afterwards the owner of
each partition goes on with the new tables from the same offset.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Protocol

from projections.backoff import Sleep, until_available, wait_seconds
from projections.batch import Batch, Partition
from projections.lane import COMMANDS, Lane
from projections.projection import Projection
from projections.projector import Projector
from projections.store import Store, Unavailable

#: Events that may be left to fold while commits are held: some tens of milliseconds.
LAST_STEP_EVENTS_MAX = 1_000

#: Rounds of catching up with live traffic that is nearly as fast as the rebuild, before it is
#: held all the same.
ROUNDS_MAX = 20

#: Records that are read and not yet folded: the memory of a rebuild.
OUTSTANDING_RECORDS_MAX = 40_000

Positions = Mapping[Partition, int]

logger = logging.getLogger(__name__)


class RebuildRuns(Exception):
    """Another rebuild of this projection is under way."""


class RebuildLost(Exception):
    """The rebuild can't go on; the message says why and what to do."""


@dataclass(frozen=True)
class Standing:
    """How far a rebuild is: records of the log behind it, of those there are."""

    phase: str
    done: int
    of: int


Tell = Callable[[Standing], None]


def _untold(_: Standing) -> None:
    """For those who don't watch."""


class Beside(Protocol):
    """The new tables of a projection, beside those that serve."""

    @property
    def alive(self) -> bool:
        """False once the right to this rebuild is lost, with the connection that holds it."""

    async def serving(self) -> Positions:
        """Where the serving tables stand."""

    async def reached(self) -> Positions:
        """Where the new tables stand."""

    async def settle(self) -> None:
        """Whatever can be done before commits are held."""

    def held(self) -> AbstractAsyncContextManager[Positions]:
        """Hold commits of the serving tables; gives where they stand.

        Raises:
            Unavailable: not now; nothing has changed, try again.
        """

    async def swap(self) -> None:
        """Inside ``held``: let the new tables serve, with all that belongs to them, or nothing.

        Raises:
            Unavailable: not now; nothing has changed, try again.
        """


class Log(Protocol):
    """The log, read for a rebuild alone."""

    async def ends(self, at_least: Positions) -> Positions:
        """Where the partitions end that the projection reads.

        It may be told a little too small, but not below ``at_least`` where the log reaches that.
        """

    async def replay(self, target: Positions, reached: Callable[[Positions], None]) -> None:
        """Fold up to exactly these offsets, commands first; returns when all is committed."""


async def rebuild(
    beside: Beside, log: Log, tell: Tell = _untold, sleep: Sleep = asyncio.sleep
) -> None:
    """Fill the new tables, which have been made, and swap.

    Raises:
        RebuildLost: it can't go on.
        Unavailable: the right to it was lost; take it again and go on.
    """
    target = await _catch_up(beside, log, tell, sleep)
    await beside.settle()
    chance = random.Random()
    attempt = 0
    while True:
        attempt += 1
        try:
            async with beside.held() as serving:
                target = {**target, **serving}
                await _replay(beside, log, target, tell, "swapping", sleep)
                await beside.swap()
            return
        except Unavailable as error:
            if not beside.alive:
                raise
            # A reader in a long transaction, or a lock met in another order: let live traffic
            # go on before the next attempt.
            wait = wait_seconds(attempt, chance)
            logger.info("the swap waits: %s; attempt %d, again in %.1f s", error, attempt, wait)
            await sleep(wait)
            target = await _catch_up(beside, log, tell, sleep)


async def _catch_up(beside: Beside, log: Log, tell: Tell, sleep: Sleep) -> Positions:
    """Come so near to the serving tables that the last step is short."""
    for _ in range(ROUNDS_MAX):
        serving = await beside.serving()
        ends = await until_available("the log's ends", partial(log.ends, serving), sleep)
        _check(serving, ends)
        target = {place: serving.get(place, end) for place, end in ends.items()}
        reached = await beside.reached()
        behind = sum(max(0, end - reached.get(place, 0)) for place, end in target.items())
        phase = "replaying" if behind > LAST_STEP_EVENTS_MAX else "catching up"
        await _replay(beside, log, target, tell, phase, sleep)
        if behind <= LAST_STEP_EVENTS_MAX:
            break
    return target


async def _replay(
    beside: Beside, log: Log, target: Positions, tell: Tell, phase: str, sleep: Sleep
) -> None:
    total = sum(target.values())

    def told(reached: Positions) -> None:
        tell(Standing(phase, sum(reached.get(place, 0) for place in target), total))

    await until_available("the log is replayed", lambda: log.replay(target, told), sleep)
    reached = await beside.reached()
    told(reached)
    for place, end in target.items():
        if reached.get(place, 0) != end:
            raise RebuildLost(
                f"the new tables stand at {place.topic}:{place.partition}:{reached.get(place, 0)},"
                f" not at {end}: another rebuild has taken over, or the serving tables were set"
                " back; begin again with --restart"
            )


def _check(serving: Positions, ends: Positions) -> None:
    for place, offset in serving.items():
        if place in ends and offset > ends[place]:
            raise RebuildLost(
                f"the serving tables stand at {place.topic}:{place.partition}:{offset}, but the log"
                f" ends at {ends[place]}: it is another one, or it was cut. Restore it, or let"
                " `streams worker --accept-new-log` take it, and rebuild then"
            )


class Lanes:
    """Folds what is replayed: a lane for each partition number, all beside each other.

    A worker has one for all of them, since other projections fold while one commits; here is one
    projection alone.
    """

    def __init__(
        self,
        projection: Projection,
        store: Store,
        places: Sequence[Partition],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._lanes: dict[Partition, Lane] = {}
        groups: dict[int, list[Partition]] = {}
        for place in places:
            groups.setdefault(place.partition, []).append(place)
        for own in groups.values():
            lane = Lane(Projector(projection, store, sleep), _nothing_to_wait_for, self._applied)
            self._lanes |= dict.fromkeys(own, lane)
        self._outstanding = 0
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Lanes:
        """Take the partitions of the new tables; a rebuild that had them is fenced."""
        for lane in set(self._lanes.values()):
            own = [place for place, of in self._lanes.items() if of is lane]
            await lane.projector.take(own)
            task = asyncio.create_task(lane.run(), name="lane of a rebuild")
            task.add_done_callback(lambda _: self._changed.set())
            self._tasks.append(task)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reached(self) -> Positions:
        """Where the new tables stand, without asking them."""
        return {
            place: found.next_offset
            for place, lane in self._lanes.items()
            if (found := lane.projector.checkpoints.get(place)) is not None
        }

    async def give(self, batch: Batch) -> None:
        """Queue a batch; returns when there is room for more."""
        size = max(1, len(batch.events))
        self._outstanding += size

        def release() -> None:
            self._outstanding -= size
            self._changed.set()

        self._lanes[batch.place].offer(replace(batch, release=release))
        await self._until(lambda: self._outstanding < OUTSTANDING_RECORDS_MAX)

    async def drained(self) -> None:
        """Return when everything that was given is committed.

        Raises:
            Exception: what a lane ended with.
        """
        await self._until(lambda: self._outstanding == 0)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._changed.clear()
            self._raise_failure()
            await self._changed.wait()
        self._raise_failure()

    def _raise_failure(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()

    def _applied(self, *_: object) -> None:
        self._changed.set()


async def _nothing_to_wait_for(_: Positions) -> None:
    """All commands are folded before the first of the other topics is read."""


def commands_first(places: Sequence[Partition]) -> list[list[Partition]]:
    """The stages in which a log is replayed."""
    commands = [place for place in places if place.topic == COMMANDS]
    others = [place for place in places if place.topic != COMMANDS]
    return [stage for stage in (commands, others) if stage]

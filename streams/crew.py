"""The lanes of one worker process: who folds what, for as long as an assignment lasts."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

from projections.backoff import Sleep
from projections.batch import Batch, Partition
from projections.health import Health
from projections.intake import Intake
from projections.lane import COMMANDS, Applied, Lane
from projections.projection import Projection
from projections.projector import Projector
from projections.store import Store
from schemas.topics import TOPICS, KeyKind
from streams.transport import Round, Slice

#: Seconds that the batch in hand gets to commit before its partitions are let go.
GRACE_SECONDS_MAX = 5.0

#: Records of several fetches that are read together: what comes while others are read.
READ_RECORDS_MAX = 5_000

#: Seconds that whatever is cancelled gets to end; what hangs is left behind.
CANCEL_SECONDS_MAX = 1.0

logger = logging.getLogger(__name__)


class Holding(NamedTuple):
    """One projection on one partition of this worker."""

    name: str
    place: Partition
    #: Whoever works on its records, one after the other.
    lane: object
    #: Whether that one still considers it its own.
    held: bool
    #: Whether it waits for commands of other partitions.
    waits: bool


class Waiting(Protocol):
    """Waits until a projection has reached positions, whichever process applies them."""

    async def reached(
        self, projection: str, wanted: Mapping[Partition, int], timeout: float | None = None
    ) -> None: ...


class SameLog(Protocol):
    """Knows which log the checkpoints are of."""

    async def check(self) -> None:
        """Raises LogMismatch unless the log is still that one."""


class Appender(Protocol):
    """A projection that only appends, by larger batches than a lane's (ClickHouse)."""

    @property
    def name(self) -> str: ...

    @property
    def topics(self) -> tuple[str, ...]: ...

    async def take(self, places: Sequence[Partition]) -> Mapping[Partition, int]:
        """Own these partitions and no others; returns the offsets to read from."""

    async def append(self, batch: Batch) -> None:
        """Take in a batch, waiting for room; it is released when its rows are safe."""

    async def close(self) -> None:
        """Write what is pending and let go of all partitions."""


class CrewStopped(Exception):
    """Partitions were assigned to a worker that is ending; they go to others."""


async def cancelled(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel them and wait for their end, but not for one that hangs in it."""
    for task in tasks:
        task.cancel()
    if tasks:
        _, hanging = await asyncio.wait(tasks, timeout=CANCEL_SECONDS_MAX)
        if hanging:
            logger.warning("%d tasks hang and are left behind", len(hanging))


class Crew:
    """Owns partitions for its projections, and gives each batch to those that read it."""

    def __init__(
        self,
        projections: Sequence[Projection],
        appenders: Sequence[Appender],
        store: Store,
        intake: Intake,
        waiting: Waiting,
        applied: Callable[[str], Applied],
        kafka: str,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.kafka = kafka
        self.projections = {projection.name: projection for projection in projections}
        self.appenders = {appender.name: appender for appender in appenders}
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: Asked at each assignment, once it is set.
        self.same_log: SameLog | None = None
        #: Where the foremost of the projections stood on each partition when it was taken.
        self.furthest: Mapping[Partition, int] = {}
        #: Shared with others that show it, once it is set.
        self.health = Health()
        self._store = store
        self._intake = intake
        self._waiting = waiting
        self._applied = applied
        self._sleep = sleep
        self._stopped = False
        self._lanes: dict[tuple[str, Partition], Lane] = {}
        self._appended: dict[str, list[Partition]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._unread: deque[Round] = deque()
        self._reading: asyncio.Task[None] | None = None

    @property
    def owning(self) -> asyncio.Event:
        """Set while partitions are owned, be they none."""
        return self.health.owning

    def topics_of(self, name: str) -> tuple[str, ...]:
        return (self.projections.get(name) or self.appenders[name]).topics

    def names(self) -> list[str]:
        return [*self.projections, *self.appenders]

    def claims(self, topic: str) -> int:
        return sum(topic in self.topics_of(name) for name in self.names())

    def applied(self) -> Mapping[Partition, int]:
        slowest: dict[Partition, int] = {}
        for (_, place), lane in self._lanes.items():
            checkpoint = lane.projector.checkpoints.get(place)
            if checkpoint is not None:
                slowest[place] = min(slowest.get(place, 1 << 62), checkpoint.next_offset)
        return slowest

    def holdings(self) -> list[Holding]:
        """Every projection on every partition that was taken, for the watchdog."""
        found = [
            Holding(name, place, lane, place in lane.projector.checkpoints, lane.waits)
            for (name, place), lane in self._lanes.items()
        ]
        found += [
            Holding(name, place, name, held=True, waits=False)
            for name, places in self._appended.items()
            for place in places
        ]
        return found

    async def check_log(self) -> None:
        """Whether the log is still the one that the checkpoints are of.

        Raises:
            LogMismatch: it is not.
        """
        if self.same_log is not None:
            await self.same_log.check()

    async def take(self, places: Sequence[Partition]) -> Mapping[Partition, int]:
        """Own these partitions and no others; returns the offsets to read from.

        The batches in hand are committed first, if that takes no longer than the grace; what is
        not is read again from the checkpoint.
        """
        await self.close()
        if self._stopped:
            raise CrewStopped
        starts: dict[Partition, int] = {}
        furthest: dict[Partition, int] = {}
        self.furthest = furthest
        for projection in self.projections.values():
            for lane, own in self._new_lanes(projection, places):
                await lane.projector.take(own)
                for place in own:
                    self._lanes[projection.name, place] = lane
                    offset = lane.projector.checkpoints[place].next_offset
                    starts[place] = min(offset, starts.get(place, offset))
                    furthest[place] = max(offset, furthest.get(place, 0))
                self._start(lane, projection.name)
        for appender in self.appenders.values():
            own = [place for place in places if place.topic in appender.topics]
            for place, offset in (await appender.take(own)).items():
                starts[place] = min(offset, starts.get(place, offset))
                furthest[place] = max(offset, furthest.get(place, 0))
            self._appended[appender.name] = own
        logger.info("owns %d partitions", len(places))
        self.health.partitions = len(places)
        self.health.assignments += 1
        self.owning.set()
        return starts

    async def close(self) -> None:
        """Commit the batches in hand within the grace and let go of all partitions."""
        self.owning.clear()
        self.health.partitions = None
        lanes = set(self._lanes.values())
        self._lanes, self._appended = {}, {}
        closing = [asyncio.create_task(lane.close()) for lane in lanes]
        closing += [asyncio.create_task(each.close()) for each in self.appenders.values()]
        late: set[asyncio.Task[None]] = set()
        if closing:
            ended, late = await asyncio.wait(closing, timeout=GRACE_SECONDS_MAX)
            for end in ended:
                if not end.cancelled() and (error := end.exception()):
                    self.fail(error)
        if late:
            logger.warning("batches in hand were not committed in time; they will be read again")
        await cancelled([*late, *self._tasks])
        self._tasks = []

    async def stop(self) -> None:
        """Close for good; what is being read is not waited for."""
        self._stopped = True
        await self.close()
        if self._reading is not None:
            await cancelled([self._reading])

    async def hand(self, name: str, part: Slice, generation: Callable[[], int]) -> None:
        """Give one projection its part of a round; stale ones are dropped.

        ``generation`` is asked once the round is read: partitions may have been taken meanwhile.
        """
        batch = (await asyncio.shield(part.round.batches))[part.number]
        if part.round.generation != generation():
            batch.release()
        elif name in self.appenders:
            await self.appenders[name].append(batch)
        elif lane := self._lanes.get((name, batch.place)):
            lane.offer(batch)
        else:
            batch.release()

    def read(self, together: Round) -> None:
        """Begin to read what was fetched, after all that was fetched before it.

        Rounds are judged in the order of the log, or a later repetition of an event would be taken
        for its first position. What comes while others are read goes together.
        """
        self._unread.append(together)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all(), name="reading")

    async def _read_all(self) -> None:
        try:
            while self._unread:
                await self._read_some()
        except Exception as error:  # noqa: BLE001 - nothing after it may be judged before it
            self.fail(error)
        else:
            self._reading = None

    async def _read_some(self) -> None:
        rounds = [self._unread.popleft()]
        count = rounds[0].count
        while self._unread and count + self._unread[0].count <= READ_RECORDS_MAX:
            rounds.append(self._unread.popleft())
            count += rounds[-1].count
        batches = iter(await self._intake.read([part for each in rounds for part in each.fetched]))
        for each in rounds:
            each.batches.set_result(list(islice(batches, len(each.fetched))))

    def _new_lanes(
        self, projection: Projection, places: Sequence[Partition]
    ) -> list[tuple[Lane, list[Partition]]]:
        groups: dict[bool, list[Partition]] = {}
        for place in places:
            if place.topic in projection.topics:
                groups.setdefault(_is_market(place.topic), []).append(place)

        async def reached(wanted: Mapping[Partition, int]) -> None:
            await self._waiting.reached(projection.name, wanted)

        def new_lane() -> Lane:
            projector = Projector(
                projection, self._store, self._sleep, self.health.of(projection.name)
            )
            return Lane(projector, reached, self._applied(projection.name))

        return [(new_lane(), own) for own in groups.values()]

    def _start(self, lane: Lane, name: str) -> None:
        task = asyncio.create_task(lane.run(), name=f"lane of {name}")
        task.add_done_callback(self._lane_ended)
        self._tasks.append(task)

    def _lane_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Something that is nobody's bad event: the worker must stop with the facts."""
        if not self.failed.done() and not self._stopped:
            self.failed.set_exception(error)


def _is_market(topic: str) -> bool:
    # Market data waits for the commands of all people, so it must not share a lane with the
    # commands of some.
    return topic != COMMANDS and TOPICS[topic].key in (KeyKind.SYMBOL, KeyKind.PAIR)

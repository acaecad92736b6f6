"""The feed: the one consumer of this process, reading every topic for all clients together.

It has no consumer group: groups share partitions out, and every gateway process needs them all.
It begins at the end of the log; what was before is read by those who ask for it (`history`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from gateway.log import Place
from gateway.tail.cursor import NUMBERED_TOPICS
from gateway.tail.hub import Hub
from gateway.tail.kafka import (
    Consumer,
    LogChanged,
    Pace,
    Tp,
    consumer,
    end_seen,
    name_of_log,
    near_ends_of,
    partition_counts,
    readable_end,
    stands_at,
    translated,
)
from projections.backoff import until_available
from projections.store import Unavailable

logger = logging.getLogger(__name__)

#: Records taken from the client at once: some milliseconds of work between other tasks.
RECORDS_MAX = 500
POLL_MS = 100

#: How long somebody who asks for the ends waits for the feed to stand there.
ENDS_SECONDS_MAX = 5.0

#: How long the feed looks for the very end before it begins.
BEGIN_SECONDS_MAX = 2.0


#: Between two looks whether the log is still the same one.
WATCH_SECONDS = 5.0


class Pulse:
    """Wakes all who wait, each time that something may have changed."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def beat(self) -> None:
        passed, self._next = self._next, asyncio.Event()
        passed.set()

    async def wait(self) -> None:
        await self._next.wait()


class Feed:
    """Reads the log into the hub until cancelled, and knows where the log ends."""

    def __init__(self, kafka: str, hub: Hub) -> None:
        self._kafka = kafka
        self._hub = hub
        self._consumer: Consumer | None = None
        self._moved = Pulse()

    # `Ends`, for those who write ----------------------------------------------------------

    def partitions(self, topic: str) -> int:
        return self._hub.partitions(topic)

    async def ends(self, places: Collection[Place]) -> Mapping[Place, int]:
        client = self._consumer
        if client is None:
            raise Unavailable(self._hub.down or "the log has not been read yet")
        near = await near_ends_of(client, places)
        # Once the feed stands there it has been answered with the last batch, and so with an end
        # that lies behind everything that was in the log when this was asked.
        await self._passed(client, near)
        return {place: max(end, end_seen(client, place)) for place, end in near.items()}

    async def caught_up(self, places: Collection[Place]) -> None:
        """Return once everything that readers could see when this was asked is in the hub.

        Raises:
            Unavailable: the log does not answer, or the feed is too far behind.
        """
        await self.ends(places)
        client = self._consumer
        if client is not None:
            await self._passed(client, {place: readable_end(client, place) for place in places})

    async def _passed(self, client: Consumer, goals: Mapping[Place, int]) -> None:
        try:
            async with asyncio.timeout(ENDS_SECONDS_MAX):
                while not await _has_passed(client, goals):
                    await self._moved.wait()
        except TimeoutError:
            raise Unavailable("the tail is too far behind the log") from None

    # ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read for ever. Lost infrastructure is waited for; clients then come again by cursor."""
        while True:
            await until_available("tail", self._read)

    async def _read(self) -> None:
        try:
            async with consumer(
                self._kafka, "gateway-tail", self._hub.settings.fetch_wait_ms
            ) as client:
                partitions = await partition_counts(self._kafka, NUMBERED_TOPICS)
                log = await name_of_log(self._kafka, NUMBERED_TOPICS)
                places = [(t, p) for t, count in partitions.items() for p in range(count)]
                ends = await _begin_at_end(client, places)
                self._hub.start(partitions, ends, log)
                self._consumer = client
                logger.info("the tail follows %d partitions", len(places))
                watch = asyncio.create_task(self._until_other(log), name="tail's log")
                try:
                    await self._follow(client, watch)
                finally:
                    watch.cancel()
        except LogChanged as error:
            logger.warning("the log is another one than before, the tail begins anew: %s", error)
            self._hub.stop("the log has changed")
        except Unavailable as error:
            self._hub.stop(str(error))
            raise
        finally:
            self._consumer = None

    async def _until_other(self, log: str) -> None:
        """Return once another log is there; fetching alone does not tell, if it is long enough."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                if await name_of_log(self._kafka, NUMBERED_TOPICS) != log:
                    return
            except Unavailable as error:
                logger.debug("which log it is is not known now: %s", error)

    async def _follow(self, client: Consumer, other: asyncio.Task[None]) -> None:
        hub, pace = self._hub, Pace(client)
        while True:
            if other.done():
                raise LogChanged("its topics have other ids")
            async with translated():
                batches = await client.getmany(timeout_ms=POLL_MS, max_records=RECORDS_MAX)
            pace.note(bool(batches))
            for tp, records in batches.items():
                if records:
                    hub.publish((tp.topic, tp.partition), records)
            self._moved.beat()
            # Let readers send before more is taken in.
            await asyncio.sleep(0)


async def _begin_at_end(client: Consumer, places: Collection[Place]) -> Mapping[Place, int]:
    """Assign all places and stand at their ends; what is read on the way was there before."""
    near = await near_ends_of(client, places)
    client.assign([Tp(*place) for place in places])
    for place, end in near.items():
        client.seek(Tp(*place), end)
    goals: dict[Place, int] = {}
    deadline = asyncio.get_running_loop().time() + BEGIN_SECONDS_MAX
    while asyncio.get_running_loop().time() < deadline:
        async with translated():
            await client.getmany(timeout_ms=POLL_MS)
        for place in places:
            if place not in goals and client.highwater(Tp(*place)) is not None:
                goals[place] = readable_end(client, place)
        if len(goals) == len(places) and await _has_passed(client, goals):
            break
    return {place: await stands_at(client, place) for place in places}


async def _has_passed(client: Consumer, goals: Mapping[Place, int]) -> bool:
    for place, goal in goals.items():
        if await stands_at(client, place) < goal:
            return False
    return True


@asynccontextmanager
async def feeding(kafka: str, hub: Hub) -> AsyncIterator[Feed]:
    """A feed that runs for as long as the block lasts."""
    feed = Feed(kafka, hub)
    task = asyncio.create_task(feed.run(), name="tail feed")
    task.add_done_callback(_report)
    try:
        yield feed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("the tail's feed ended", exc_info=error)

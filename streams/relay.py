"""The relay: what projections owe the log is published in order, each record once.

One relay of an installation leads, the others stand by. Each round is one transaction of the log
and then one of the database, which settles what was published and moves the relay's positions
past it. A crash between the two repeats nothing: what stands at or after the relay's positions
was published and not settled as far as this database knows, so a new leader reads it first. The
same reading makes up for a database that was restored from a backup, or is a new one: what it
will derive again stands in the log already, and is settled without being published.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from projections.backoff import Report, wait_seconds
from projections.batch import Partition
from projections.outbox import Name, Owed
from projections.store import Unavailable
from schemas.topics import APP_COMMANDS, TOPICS

#: Records of one transaction: large enough that its fixed cost does not count, small enough that
#: a new leader sends little again.
ROUND_RECORDS_MAX = 2_000

#: What a new leader reads: where derived events, dead letters and timers go. A source topic is
#: read when something that failed is to be published there again.
PUBLISHED_TOPICS = frozenset(
    {APP_COMMANDS.name, *(topic.name for topic in TOPICS.values() if topic.derived)}
)

#: Seconds without a wake-up after which the relay looks by itself.
IDLE_SECONDS_MAX = 5.0

#: Records read between two lines of progress in the log.
PROGRESS_RECORDS = 100_000

logger = logging.getLogger(__name__)


class Page(NamedTuple):
    """Some of what stands in the log, without what no relay has published.

    ``positions`` are up to where it was read, ``left`` is about how many records follow.
    """

    names: Collection[Name]
    positions: Mapping[Partition, int]
    left: int


class DerivedLog(Protocol):
    """The log as one relay writes it; whoever wrote before is fenced."""

    async def publish(self, owed: Sequence[Owed]) -> Mapping[Partition, int]:
        """Append all or nothing, in order; the next offset after the last of each partition.

        Raises:
            Unavailable: whether they were appended is unknown, or another relay writes now.
        """

    def standing(
        self, topics: Collection[str], positions: Mapping[Partition, int]
    ) -> AsyncIterator[Page]:
        """What stands in these topics at or after the positions, up to the end as it is now.

        A partition without a position is read from its beginning, but one of a source topic from
        its end: only what failed and is tried again is published there, rarely.

        Raises:
            LogMismatch: a partition ends before its position.
            Unavailable: the log does not answer.
        """


class Outbox(Protocol):
    """What the relay needs of the outbox that it leads."""

    async def pending(self, limit: int) -> Sequence[Owed]:
        """The oldest records that are owed."""

    async def settle(self, seqs: Sequence[int], positions: Mapping[Partition, int]) -> None:
        """These stand in the log; the relay's positions are past them. One transaction."""

    async def positions(self) -> Mapping[Partition, int]:
        """Up to where everything that stands in the log is settled."""

    async def found(self, names: Collection[Name], positions: Mapping[Partition, int]) -> int:
        """These were found in the log; the reading has come to these positions. One transaction.

        What is owed is settled; the rest is remembered, for when it is owed again. Returns how
        many were settled.
        """

    async def fire_timers(self, now: datetime, limit: int) -> int:
        """Turn timers that are due into events that are owed; returns how many."""

    async def next_due(self) -> datetime | None:
        """When the next timer is due."""

    async def woken(self, seconds: float) -> None:
        """Wait until something new may be owed, but not longer than ``seconds``."""


Lead = Callable[[], AbstractAsyncContextManager[Outbox]]
OpenLog = Callable[[], AbstractAsyncContextManager[DerivedLog]]
Clock = Callable[[], datetime]
Sleep = Callable[[float], Awaitable[None]]


def now_utc() -> datetime:
    return datetime.now(UTC)


async def relay(
    lead: Lead,
    open_log: OpenLog,
    clock: Clock = now_utc,
    sleep: Sleep = asyncio.sleep,
    report: Report | None = None,
) -> None:
    """Publish until cancelled; lost infrastructure is waited for, visibly.

    Args:
        lead: waits for the leadership and holds it for as long as the block lasts.
        open_log: a session of the log; whoever had one before is fenced.
        clock: says which timers are due.
        sleep: takes seconds; used between two attempts.
        report: is told of each failure, and of the end of the trouble.

    Raises:
        LogMismatch: the log ends before what the relay has published.
    """
    chance = random.Random()
    attempt = 0
    me = object()
    while True:
        try:
            # First the leadership, then the log: whoever led before is fenced from here on, so
            # that the reading sees what it published and nothing of it comes after.
            async with lead() as outbox, open_log() as log:
                leader = Leader(outbox, log)
                await leader.catch_up(PUBLISHED_TOPICS)
                logger.info("the relay leads")
                if attempt and report is not None:
                    report.over(me)
                attempt = 0
                while True:
                    if not await leader.publish_owed(clock()):
                        await outbox.woken(await _pause(outbox, clock))
        except (Unavailable, OSError) as error:
            attempt += 1
            wait = wait_seconds(attempt, chance)
            logger.warning("relay: %s; attempt %d, again in %.1f s", error, attempt, wait)
            if report is not None:
                report.lost(me, "publishes what is owed", str(error))
            await sleep(wait)


class Leader:
    """The relay that leads: it reads what stands in the log, and then publishes what is owed."""

    def __init__(self, outbox: Outbox, log: DerivedLog) -> None:
        self._outbox = outbox
        self._log = log
        self._read: set[str] = set()

    async def catch_up(self, topics: Collection[str]) -> None:
        """Settle or remember what stands in these topics beyond the relay's positions.

        Nothing may be published to a topic before; afterwards only this leader adds to it.
        """
        settled = remembered = said = 0
        positions = await self._outbox.positions()
        async for page in self._log.standing(topics, positions):
            found = await self._outbox.found(page.names, page.positions)
            settled += found
            remembered += len(page.names) - found
            if settled + remembered >= said + PROGRESS_RECORDS:
                said = settled + remembered
                logger.info("read %d published records, about %d to go", said, page.left)
        self._read |= set(topics)
        if settled or remembered:
            logger.info(
                "%d owed records had been published before, %d were not owed", settled, remembered
            )

    async def publish_owed(self, now: datetime) -> int:
        """One round: fire what is due, publish the oldest that is owed, settle it.

        Returns how many records were settled; 0 if nothing is owed.
        """
        await self._outbox.fire_timers(now, ROUND_RECORDS_MAX)
        owed = await self._outbox.pending(ROUND_RECORDS_MAX)
        unread = {record.topic for record in owed} - self._read
        if unread:
            await self.catch_up(unread)
            owed = await self._outbox.pending(ROUND_RECORDS_MAX)
        if owed:
            missing = [record for record in owed if not record.ahead]
            positions = await self._log.publish(missing) if missing else {}
            await self._outbox.settle([record.seq for record in owed], positions)
        return len(owed)


async def _pause(outbox: Outbox, clock: Clock) -> float:
    due = await outbox.next_due()
    if due is None:
        return IDLE_SECONDS_MAX
    return min(IDLE_SECONDS_MAX, max(0.0, (due - clock()).total_seconds()))

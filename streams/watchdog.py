"""Notices partitions that stand still although there is something to do and nothing is away.

A consumer that silently stops fetching, an agent that died, a lane that waits for what never
comes: none of them raises an error. They have one sign in common. The log goes on beyond a
checkpoint, the checkpoint does not move, and nobody can say why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from projections.backoff import Sleep
from projections.batch import Partition
from projections.health import BROKER, PROGRESS, RELAY, WATCHDOG, Health
from projections.store import Unavailable
from streams.crew import Crew, Holding

#: Seconds that a partition may stand still with unread records, unless settings say otherwise.
STALL_SECONDS = 20.0

#: Further seconds for records that are in somebody's hands: as long as a statement may take.
IN_HAND_SECONDS = 60.0

#: Seconds until a worker must have been given its partitions, if only none: a group waits for
#: its members, and flushes left open are finished first.
ASSIGNMENT_SECONDS_MAX = 120.0

#: Seconds between two looks, at most, and until broker and database count as silent.
LOOK_SECONDS_MAX = 5.0
ANSWER_SECONDS_MAX = 10.0

#: Attempts to heal in the process that may fail one after the other.
HEALS_MAX = 3

#: Parts whose troubles hold up nobody: who waits for progress says so.
_APART = frozenset({PROGRESS, RELAY, WATCHDOG})

Ends = Callable[[Iterable[Partition]], Awaitable[Mapping[Partition, int]]]
Checkpoints = Callable[[], Awaitable[Mapping[str, Mapping[Partition, int]]]]

logger = logging.getLogger(__name__)


class Stalled(Exception):
    """Partitions stand still and nothing is away; the message has the facts."""


class Unhealed(Exception):
    """The worker stands still however often it begins anew; a new process may do better."""


class Fetching(Protocol):
    """What the watchdog asks of the consumer."""

    def handed(self, place: Partition) -> int:
        """The offset up to which records were handed over."""

    def had_room(self, place: Partition, seconds: float) -> bool:
        """Whether its records might have been fetched at any time of the last ``seconds``."""


class Standing(NamedTuple):
    """One projection on one partition, at one look."""

    name: str
    place: Partition
    reached: int
    end: int
    handed: int
    #: What moves together with it: whoever has its records in hand.
    lane: object
    #: Why it may stand still, if it may.
    excuse: str | None = None


class Watch:
    """Who has stood still for how long; pure, the time is given.

    What has been handed over is in the hands of a lane, which works on one thing after another:
    it stands still when nothing of that lane moves. What was not handed over is the consumer's:
    it should come within seconds, whatever else comes.
    """

    def __init__(
        self, seconds: float = STALL_SECONDS, in_hand_seconds: float = IN_HAND_SECONDS
    ) -> None:
        self.seconds = seconds
        self._in_hand_seconds = in_hand_seconds
        self._reached: dict[tuple[str, Partition], int] = {}
        self._since: dict[tuple[str, Partition], float] = {}
        self._lane_since: dict[object, float] = {}

    def forget(self) -> None:
        """Begin anew, as if nothing had been seen."""
        self._reached, self._since, self._lane_since = {}, {}, {}

    def look(self, standings: Iterable[Standing], now: float) -> list[Standing]:
        """Those that have stood still for too long at ``now`` (seconds)."""
        seen = list(standings)
        reached, self._reached = self._reached, {}
        since, self._since = self._since, {}
        lane_since, self._lane_since = self._lane_since, {}
        for each in seen:
            key = each.name, each.place
            moved = reached.get(key) != each.reached
            idle = each.reached >= each.end or each.excuse is not None
            self._reached[key] = each.reached
            self._since[key] = now if moved or idle else since[key]
            known = self._lane_since.get(each.lane, lane_since.get(each.lane, now))
            self._lane_since[each.lane] = now if moved else known
        return [each for each in seen if self._is_stalled(each, now)]

    def _is_stalled(self, each: Standing, now: float) -> bool:
        since = self._since[each.name, each.place]
        if each.handed > each.reached:
            since = max(since, self._lane_since[each.lane])
            return now - since >= self.seconds + self._in_hand_seconds
        return now - since >= self.seconds


class Watchdog:
    """Looks at a worker again and again."""

    def __init__(
        self,
        watch: Watch,
        ends: Ends,
        checkpoints: Checkpoints,
        health: Health,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._watch = watch
        self._sleep = sleep
        self._ends = ends
        self._checkpoints = checkpoints
        self._health = health
        self._clock = clock
        self._assignments = 0
        self._in_a_row = 0
        self._healed_at = 0.0
        self._stuck: dict[tuple[str, Partition], int] = {}
        #: What was seen at the last look, for those who measure.
        self.standings: list[Standing] = []
        #: Partitions that stood still, and new beginnings because of it; they only grow.
        self.stalls = 0
        self.heals = 0

    async def run(self, crew: Crew, fetching: Callable[[], Fetching | None]) -> None:
        """Look until something stands still.

        Raises:
            Stalled: with the facts.
        """
        self._watch.forget()
        pause = min(LOOK_SECONDS_MAX, self._watch.seconds / 4)
        owned_at = looked_at = self._clock()
        while True:
            await self._sleep(pause)
            now = self._clock()
            if now - looked_at > pause + LOOK_SECONDS_MAX:
                # This process was stopped, or too busy to look: nobody stood still for longer
                # than it did.
                self._watch.forget()
                owned_at = now
            if crew.owning.is_set() and (consumer := fetching()) is not None:
                await self._look(crew, consumer)
                owned_at = self._clock()
            elif self._away():
                owned_at = now
            elif now - owned_at > ASSIGNMENT_SECONDS_MAX:
                raise Stalled(f"no partitions were assigned within {ASSIGNMENT_SECONDS_MAX:g} s")
            looked_at = self._clock()

    def heal(self, stall: Stalled) -> None:
        """Count a new beginning, which is the caller's to make.

        Raises:
            Unhealed: too many in a row did not help.
        """
        self._in_a_row += 1
        if self._in_a_row > HEALS_MAX:
            raise Unhealed(f"{HEALS_MAX} new beginnings did not help: {stall}") from stall
        self.heals += 1
        self._healed_at = self._clock()
        self._health.lost(WATCHDOG, self, "begins anew", str(stall))
        logger.error("stalled: %s; beginning anew, %d of %d", stall, self._in_a_row, HEALS_MAX)

    async def _look(self, crew: Crew, fetching: Fetching) -> None:
        if self._health.assignments != self._assignments:
            self._assignments = self._health.assignments
            self._watch.forget()
        holdings = crew.holdings()
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                ends = await self._ends({holding.place for holding in holdings})
                reached = await self._checkpoints()
        except (Unavailable, TimeoutError) as error:
            what = "asks where log and checkpoints stand"
            self._health.lost(BROKER, self, what, str(error) or "no answer in time")
            self._watch.forget()
            return
        self._health.over(BROKER, self)
        self.standings = [
            self._standing(holding, ends, reached, fetching)
            for holding in holdings
            if holding.place in ends
        ]
        stalled = self._watch.look(self.standings, self._clock())
        if stalled:
            self.stalls += len(stalled)
            self._stuck = {(each.name, each.place): each.reached for each in stalled}
            raise Stalled(_facts(stalled))
        self._see_what_helped()

    def _see_what_helped(self) -> None:
        """A beginning has helped when what stood still has moved, or is another worker's."""
        self._stuck = {
            (each.name, each.place): each.reached
            for each in self.standings
            if self._stuck.get((each.name, each.place)) == each.reached
        }
        if not self._stuck:
            self._health.over(WATCHDOG, self)
            if self._clock() - self._healed_at > self._watch.seconds:
                self._in_a_row = 0

    def _away(self) -> bool:
        """Whether something is away without which partitions can't move."""
        return bool({trouble.part for trouble in self._health.troubles} - _APART)

    def _standing(
        self,
        holding: Holding,
        ends: Mapping[Partition, int],
        reached: Mapping[str, Mapping[Partition, int]],
        fetching: Fetching,
    ) -> Standing:
        at = reached.get(holding.name, {}).get(holding.place, 0)
        handed = fetching.handed(holding.place) if holding.held else at
        return Standing(
            holding.name,
            holding.place,
            at,
            ends[holding.place],
            handed,
            holding.lane,
            self._excuse(holding, handed > at, fetching),
        )

    def _excuse(self, holding: Holding, in_hand: bool, fetching: Fetching) -> str | None:
        if self._away():
            # Whatever is away fills queues on the way to it, and they hold up others.
            return "something is away"
        if in_hand and holding.waits:
            return "it waits for commands of other partitions"
        if not in_hand and not fetching.had_room(holding.place, self._watch.seconds):
            # What is fetched goes by turns, and while there is little room a turn may take long.
            return "others must make room first"
        return None


def _facts(stalled: list[Standing]) -> str:
    first = stalled[0]
    where = "in hand" if first.handed > first.reached else "not fetched"
    more = f", and {len(stalled) - 1} more" if len(stalled) > 1 else ""
    return (
        f"{first.name} stands at {first.place.topic}:{first.place.partition}:{first.reached}"
        f" of {first.end} ({where}){more}"
    )

"""One history: built from a seed, played to its end and judged."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from projections.analytics.appender import TOPICS as ANALYTICS_TOPICS
from projections.analytics.gather import ANALYTICS
from projections.notifications.projection import Notifications
from projections.projection import Projection
from tests.simulation.faults import Plan, swarm
from tests.simulation.load import PARTITIONS, TOPICS, Load
from tests.simulation.log import Log
from tests.simulation.ports import CLICKHOUSE, KAFKA, POSTGRES
from tests.simulation.relaying import Producers, run_relay
from tests.simulation.servers import ClickHouse, Parts, Postgres
from tests.simulation.toy import Alerting, HungryAlerting
from tests.simulation.verdict import differences
from tests.simulation.worker import SESSION_SECONDS, Group, Site, fetched_max_of, run_worker
from tests.simulation.world import PAUSE_SECONDS_MAX, Life, Step, World

#: Virtual seconds: how long things are appended and go wrong, for each history and for each act.
TROUBLE_SECONDS_MIN = 2.0
ACT_SECONDS = 0.25

#: Virtual seconds: how long the rest may take, how often it is looked whether it has come, and
#: how far ahead timers may be due.
REST_SECONDS_MAX = 200.0
REST_LOOK_SECONDS = 0.25
TIMER_SECONDS_MAX = 3_700.0

#: Virtual seconds without progress after which the watchdog starts the workers anew.
STALL_SECONDS_MAX = 30.0

ACTS_MIN, ACTS_MAX = 10, 45
DISTURBANCES = (0, 1, 3, 8)
WORKERS_MAX = 3


@dataclass
class History:
    """What came of a seed."""

    seed: int | str
    trace: list[Step]
    broken: list[str]
    events: int
    calls: int
    deaths: int
    seconds: float

    @property
    def digest(self) -> str:
        """The same for two runs of one seed, wherever they run."""
        text = "\n".join(map(str, self.trace))
        return blake2b(text.encode(), digest_size=8).hexdigest()

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {len(self.broken)} broken", *self.broken]
        return "\n  ".join(lines)


def play(
    seed: int | str,
    *,
    plan: Callable[[random.Random], Plan] = swarm,
    parts: Parts | None = None,
    acts: int | None = None,
    disturbances: int | None = None,
) -> History:
    """Play the history of a seed.

    Args:
        seed: decides everything, together with the arguments that follow.
        plan: makes the plan of what goes wrong with single calls.
        parts: what it is built with, if not with what the product has.
        acts: how much is appended; the seed decides, if None.
        disturbances: how often something happens to processes and servers beyond the plan; the
            seed decides, if None.
    """
    world = World(seed, plan)
    logging_was_disabled = logging.root.manager.disable
    # Every retry says so, thousands of times a second.
    logging.disable(logging.ERROR)
    try:
        return world.loop.play(Stage(seed, world, parts or Parts(), acts, disturbances).play())
    finally:
        logging.disable(logging_was_disabled)


class Stage:
    """The cast of a history, and what happens to it."""

    def __init__(
        self,
        seed: int | str,
        world: World,
        parts: Parts,
        acts: int | None,
        disturbances: int | None,
    ) -> None:
        chance = random.Random(f"load {seed}")
        self._seed = seed
        self._world = world
        self._log = Log(dict.fromkeys(TOPICS, PARTITIONS), chance, world.clock)
        self._log.grown = world.tell
        self._load = Load(chance, self._log, world.clock)
        self._acts = acts or world.chance.randint(ACTS_MIN, ACTS_MAX)
        self._seconds = TROUBLE_SECONDS_MIN + self._acts * ACT_SECONDS
        drawn = world.chance.choice(DISTURBANCES)
        self._disturbances = drawn if disturbances is None else disturbances
        self._postgres = Postgres(world, parts)
        self._clickhouse = ClickHouse(parts.append_store())
        self._group = Group(world, self._log)
        self._producers = Producers(world, self._log)
        self._site = Site(
            world,
            self._log,
            self._postgres,
            self._clickhouse,
            self._group,
            projections=self._cast(world.chance),
            analytics=world.chance.random() < 0.7,
            fetched_max=fetched_max_of(world.chance),
        )
        self._running: dict[str, Life] = {}
        self._later: list[asyncio.Task[None]] = []
        self._supervisors: list[asyncio.Task[None]] = []
        self._trouble = True
        world.stopped = self._silent

    def _cast(self, chance: random.Random) -> Sequence[Projection]:
        totals = HungryAlerting() if chance.random() < 0.2 else Alerting()
        return [totals, Notifications()] if chance.random() < 0.7 else [totals]

    async def play(self) -> History:
        world = self._world
        self._supervise()
        appending = asyncio.create_task(self._append())
        disturbing = asyncio.create_task(self._disturb())
        await asyncio.sleep(self._seconds)
        await asyncio.gather(appending, disturbing)
        self._end_trouble()
        broken = await self._rest()
        seconds = world.now()
        for task in self._supervisors:
            task.cancel()
        await world.end()
        if not broken:
            broken = self._judge()
        return History(
            self._seed,
            world.trace,
            [*world.bugs, *broken],
            sum(map(len, self._log.records.values())),
            world.plan.drawn,
            world.deaths,
            seconds,
        )

    def _judge(self) -> list[str]:
        site = self._site
        return differences(
            self._log, self._postgres, self._clickhouse, site.projections, site.analytics
        )

    # Processes -----------------------------------------------------------------------------

    def _supervise(self) -> None:
        workers = self._world.chance.randint(1, WORKERS_MAX)
        relays = self._world.chance.randint(1, 2)
        roles: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = [
            *((f"worker{n}", lambda: run_worker(self._site)) for n in range(workers)),
            *((f"relay{n}", self._relay) for n in range(relays)),
        ]
        for name, main in roles:
            self._supervisors.append(asyncio.create_task(self._keep_up(name, main)))

    async def _keep_up(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a process, and another one in its place whenever it ends."""
        number = 0
        while True:
            number += 1
            life = self._world.start(f"{name}.{number}", main)
            self._running[name] = life
            await life.ended.wait()
            self._notice(life)
            await asyncio.sleep(self._world.chance.uniform(0.0, 3.0) if self._trouble else 0.1)

    async def _relay(self) -> None:
        await run_relay(self._world, self._postgres, self._producers)

    def _silent(self, life: Life, seconds: float) -> None:
        """A process stands still: the servers see that nothing comes from it."""
        if seconds > SESSION_SECONDS:
            self._notice(life)

    def _notice(self, life: Life) -> None:
        self._later.append(asyncio.create_task(self._notice_silence(life)))

    async def _notice_silence(self, life: Life) -> None:
        await asyncio.sleep(SESSION_SECONDS)
        if life.paused or not life.alive:
            self._group.leave(life.name)
            lead = self._postgres.lead
            if lead is not None and lead.life is life:
                lead.over = True

    # What happens --------------------------------------------------------------------------

    async def _append(self) -> None:
        pause = self._seconds / (self._acts + 1)
        for act in self._load.acts(self._acts):
            await asyncio.sleep(self._world.chance.choice((0.0, 0.3, 1.2)) * pause)
            act()

    async def _disturb(self) -> None:
        chance = self._world.chance
        for _ in range(self._disturbances):
            await asyncio.sleep(chance.uniform(0.0, 2 * self._seconds / (self._disturbances + 1)))
            chance.choice(
                (self._kill, self._stop, self._cut, self._shuffle, self._shuffle, self._swap)
            )()

    def _kill(self) -> None:
        self._world.kill(self._anybody())

    def _stop(self) -> None:
        life = self._anybody()
        if life.alive and not life.paused:
            seconds = self._world.chance.uniform(0.5, PAUSE_SECONDS_MAX)
            self._later.append(asyncio.create_task(self._world.stop_for(life, seconds)))

    def _cut(self) -> None:
        server = self._world.chance.choice((POSTGRES, CLICKHOUSE, KAFKA))
        seconds = self._world.chance.uniform(0.2, 5.0)
        self._world.note("goes away", f"{seconds:.1f} s", server)
        self._world.away[server] = self._world.now() + seconds
        if server == POSTGRES and self._postgres.lead is not None:
            self._postgres.lead.over = True

    def _shuffle(self) -> None:
        """A member's heartbeat is late: it leaves, and joins again when it asks."""
        if self._group.members:
            self._group.leave(self._world.chance.choice(self._group.members))

    def _swap(self) -> None:
        """A rebuild has swapped the tables for new ones, at the same positions."""
        projection = self._world.chance.choice(self._site.projections)
        self._world.note("swaps tables", projection.name, "rebuild")
        self._postgres.store.hand_over(projection.name, projection.version)
        if self._site.analytics and self._world.chance.random() < 0.5:
            self._world.note("swaps tables", ANALYTICS, "rebuild")
            self._postgres.flushes.hand_over(1)

    def _anybody(self) -> Life:
        return self._world.chance.choice([self._running[name] for name in sorted(self._running)])

    # The end -------------------------------------------------------------------------------

    def _end_trouble(self) -> None:
        self._trouble = False
        self._world.note("no more trouble")
        self._world.plan.end()
        self._world.away.clear()
        for life in self._running.values():
            life.resume()

    async def _rest(self) -> list[str]:
        """Wait until nothing is left to do; timers that are not due yet are made so."""
        until = self._world.now() + REST_SECONDS_MAX
        before, since = list[str](), self._world.now()
        while self._world.now() < until:
            left = self._left()
            if not left:
                if not self._postgres.store.timers:
                    return []
                self._world.skip_seconds(TIMER_SECONDS_MAX)
            if left != before:
                before, since = left, self._world.now()
            elif left and self._world.now() - since > STALL_SECONDS_MAX:
                return [f"stalled: {one}" for one in left]
            await asyncio.sleep(REST_LOOK_SECONDS)
        return [f"no rest: {one}" for one in self._left()]

    def _left(self) -> list[str]:
        """What is still to be done."""
        left = [
            f"{name} is at {at} of {end} on {place}"
            for name, topics in self._readers()
            for place, end in self._log.ends.items()
            if place.topic in topics and (at := self._postgres.reached(name, place)) != end
        ]
        owed = self._postgres.store.outbox.owed
        if owed:
            left.append(f"{len(owed)} records are owed")
        if self._world.is_late:
            left.append("requests are under way")
        return left

    def _readers(self) -> list[tuple[str, Sequence[str]]]:
        readers = [(one.name, one.topics) for one in self._site.projections]
        return [*readers, (ANALYTICS, ANALYTICS_TOPICS)] if self._site.analytics else readers

"""A worker process: the real crew, and in Faust's place what carries records to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from projections.analytics.appender import Analytics
from projections.batch import Partition
from projections.intake import Fetched, Intake
from projections.lane import COMMANDS
from projections.projection import Projection
from projections.store import Unavailable
from schemas.codec import RawRecord
from streams.crew import Crew
from streams.transport import Round, Slice
from tests.simulation.log import Log
from tests.simulation.ports import (
    KAFKA,
    AppendPort,
    Checkpoints,
    FlushPort,
    IndexPort,
    Rereading,
    StorePort,
)
from tests.simulation.servers import ClickHouse, Postgres
from tests.simulation.world import Life, World, life_of_caller

T = TypeVar("T")

#: Virtual seconds: how long a worker may be silent before the group gives its partitions away,
#: and how long an idle one waits before it asks again.
SESSION_SECONDS = 2.0
IDLE_SECONDS_MAX = 1.0

#: Slices of one projection that wait to be handed over.
WAITING_SLICES_MAX = 6


class Group:
    """The consumer group: who is in it, and which partitions each member has."""

    def __init__(self, world: World, log: Log) -> None:
        self._world = world
        self._log = log
        self.members: list[str] = []
        self.generation = 0
        #: Who has joined the generation to come; None while there is nothing to change.
        self._joined: set[str] | None = None

    def join(self, life: Life) -> None:
        """Be part of the next generation, which begins when all have joined or are given up."""
        if life.alive:
            self._begin().add(life.name)
            self._end_if_complete()

    def leave(self, name: str) -> None:
        if name in self.members or (self._joined and name in self._joined):
            self._begin().discard(name)
            self.members = [member for member in self.members if member != name]
            self._end_if_complete()

    def must_join(self, name: str) -> bool:
        if self._joined is not None:
            return name not in self._joined
        return name not in self.members

    @property
    def is_settled(self) -> bool:
        """Whether everybody knows what is theirs."""
        return self._joined is None

    def share_of(self, name: str) -> list[Partition]:
        """Partitions of the same numbers of all topics, as the assignor gives them."""
        turn, count = self.members.index(name), len(self.members)
        return [place for place in self._log.places() if place.partition % count == turn]

    def _begin(self) -> set[str]:
        if self._joined is None:
            self._joined = set()
            self._world.loop.call_later(SESSION_SECONDS, self._end, self.generation)
            self._world.tell()
        return self._joined

    def _end_if_complete(self) -> None:
        if self._joined and self._joined.issuperset(self.members):
            self._end(self.generation)

    def _end(self, generation: int) -> None:
        """The next generation is of those who joined; who was too slow joins another one."""
        if self._joined is None or generation != self.generation:
            return
        self.members, self._joined = sorted(self._joined), None
        self.generation += 1
        self._world.note("rebalance", f"{self.generation}: {', '.join(self.members)}", "group")
        self._world.tell()


@dataclass
class Site:
    """Where workers work: the servers, and what is folded there."""

    world: World
    log: Log
    postgres: Postgres
    clickhouse: ClickHouse
    group: Group
    projections: Sequence[Projection]
    analytics: bool
    #: Records of one fetch and partition at most.
    fetched_max: int


@dataclass
class Fetch:
    """What one fetch brought: records and positions by partition."""

    records: dict[Partition, list[RawRecord]] = field(default_factory=dict)
    positions: dict[Partition, int] = field(default_factory=dict)


async def run_worker(site: Site) -> None:
    """The main function of a worker process; it ends with the process."""
    world = site.world
    intake = Intake(IndexPort(world, site.postgres.index), site.log.counts, "bfc", world.sleep)
    appenders = []
    if site.analytics:
        appenders.append(
            Analytics(
                AppendPort(world, site.clickhouse),
                FlushPort(world, site.postgres),
                Rereading(world, site.log, intake),
                sleep=world.sleep,
                clock=world.now,
                new_id=world.new_id,
            )
        )
    crew = Crew(
        list(site.projections),
        appenders,
        StorePort(world, site.postgres),
        intake,
        Checkpoints(world, site.postgres),
        lambda name: lambda batches, outcome: None,
        "",
        world.sleep,
    )
    carrier = Carrier(site, crew)
    ends: list[asyncio.Future[None]] = [crew.failed, *carrier.start()]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        if end.done() and not end.cancelled() and (error := end.exception()) is not None:
            world.failed(life_of_caller(), error)


class Carrier:
    """What Faust and the transport do: fetch, make rounds of it, hand them to each projection."""

    def __init__(self, site: Site, crew: Crew) -> None:
        self._site = site
        self._crew = crew
        self._world = site.world
        self._name = life_of_caller().name
        self._generation = 0
        self._handed: dict[Partition, int] = {}
        self._waiting: dict[str, asyncio.Queue[Slice]] = {
            name: asyncio.Queue(WAITING_SLICES_MAX) for name in crew.names()
        }

    def start(self) -> list[asyncio.Task[None]]:
        agents = [asyncio.create_task(self._agent(name)) for name in self._waiting]
        return [asyncio.create_task(self._carry()), *agents]

    async def _agent(self, name: str) -> None:
        while True:
            part = await self._waiting[name].get()
            await self._crew.hand(name, part, lambda: self._generation)

    async def _carry(self) -> None:
        group, known, me = self._site.group, -1, life_of_caller()
        while True:
            await me.up()
            if group.must_join(me.name):
                await self._ask("join", lambda: group.join(me))
            elif group.is_settled and group.generation != known:
                known = group.generation
                await self._take(group.share_of(me.name))
            elif group.is_settled and self._is_behind():
                fetch = await self._ask("fetch", self._fetch)
                if fetch.positions:
                    await self._hand_over(fetch)
            else:
                await self._world.told(IDLE_SECONDS_MAX)

    def _is_behind(self) -> bool:
        """Whether a fetch would find something: one that finds nothing is not worth a step."""
        ends = self._site.log.ends
        return any(ends[place] > start for place, start in self._handed.items())

    async def _ask(self, what: str, step: Callable[[], T]) -> T:
        """The client library asks again by itself."""
        while True:
            try:
                return await self._world.call(KAFKA, what, step)
            except Unavailable:
                await self._world.sleep(1.0)

    async def _take(self, places: Sequence[Partition]) -> None:
        self._generation += 1
        self._handed = {}
        self._world.note(
            "owns", f"{self._generation}: {sorted({p for _, p in places})}", self._name
        )
        self._handed = dict(await self._crew.take(places))

    def _fetch(self) -> Fetch:
        chance, log = self._world.chance, self._site.log
        fetch = Fetch()
        for place, start in self._handed.items():
            if log.ends[place] > start and chance.random() < 0.8:
                most = chance.randint(1, self._site.fetched_max)
                found, position = log.read(place, start, most)
                fetch.records[place], fetch.positions[place] = found, position
        return fetch

    async def _hand_over(self, fetch: Fetch) -> None:
        ends: Mapping[Partition, int] = {}
        if any(place.topic != COMMANDS for place in fetch.positions):
            # Asked after the fetch, as the transport does.
            ends = await self._ask("ends of commands", self._ends_of_commands)
        together = Round(self._generation)
        for place, end in fetch.positions.items():
            start = self._handed[place]
            part = Fetched(place, start, end, fetch.records[place], commands_end=ends)
            together.fetched.append(part)
            self._handed[place] = end
        self._crew.read(together)
        for number, part in enumerate(together.fetched):
            for name in self._crew.names():
                if part.place.topic in self._crew.topics_of(name):
                    await self._waiting[name].put(Slice(together, number))

    def _ends_of_commands(self) -> dict[Partition, int]:
        return {place: end for place, end in self._site.log.ends.items() if place.topic == COMMANDS}


def fetched_max_of(chance: random.Random) -> int:
    """Small fetches move the borders of batches, large ones make what is halved."""
    return chance.choice((1, 3, 10, 50))

"""The relay's processes: the real relay over a log whose transactions may end in any way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from projections.batch import Partition
from projections.outbox import Owed
from projections.store import Unavailable
from schemas.topics import partition_of
from streams.relay import PUBLISHED_TOPICS, Page, relay
from streams.relay_log import name_of
from tests.simulation.log import Log
from tests.simulation.ports import KAFKA, leading
from tests.simulation.servers import Postgres
from tests.simulation.world import World

#: Records of one page, few, so that a reading takes several.
PAGE_RECORDS = 5


class Producers:
    """The sessions of one transactional id: the newest fences all others."""

    def __init__(self, world: World, log: Log) -> None:
        self.world = world
        self.log = log
        self.epoch = 0

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """``OpenLog``: from here on, nothing of an earlier session arrives any more."""
        yield Session(self, await self.world.call(KAFKA, "open a producer", self._begin))

    def _begin(self) -> int:
        self.epoch += 1
        return self.epoch


class Session:
    """``DerivedLog`` for as long as nobody else begins a session."""

    def __init__(self, producers: Producers, epoch: int) -> None:
        self._producers = producers
        self._log = producers.log
        self._epoch = epoch

    async def publish(self, owed: Sequence[Owed]) -> Mapping[Partition, int]:
        return await self._producers.world.call(
            KAFKA,
            f"publish {len(owed)}",
            lambda: self._commit(owed),
            torn=lambda: self._abort(owed),
        )

    async def standing(
        self, topics: Collection[str], positions: Mapping[Partition, int]
    ) -> AsyncIterator[Page]:
        for place in [place for place in self._log.places() if place.topic in topics]:
            end = self._log.ends[place]
            at = positions.get(place, 0 if place.topic in PUBLISHED_TOPICS else end)
            while at < end:
                records, at = await self._producers.world.call(
                    KAFKA, f"look at {place}", partial(self._log.read, place, at, PAGE_RECORDS)
                )
                names = {name for record in records if (name := name_of(record)) is not None}
                yield Page(names, {place: at}, max(0, end - at))

    def _commit(self, owed: Sequence[Owed]) -> dict[Partition, int]:
        self._check()
        ends: dict[Partition, int] = {}
        for record in owed:
            made = self._log.append(record.topic, record.key, record.value, record.headers)
            ends[Partition(made.topic, made.partition)] = made.offset + 1
        self._log.skip(ends)
        return ends

    def _abort(self, owed: Sequence[Owed]) -> None:
        """What an aborted transaction leaves: offsets that nobody with read_committed sees."""
        if self._epoch == self._producers.epoch:
            self._log.skip(
                {
                    Partition(
                        one.topic, partition_of(one.key or b"", self._log.counts[one.topic])
                    ): 0
                    for one in owed
                },
                most=3,
            )

    def _check(self) -> None:
        if self._epoch != self._producers.epoch:
            raise Unavailable("another relay writes now")


async def run_relay(world: World, postgres: Postgres, producers: Producers) -> None:
    """The main function of a relay process."""
    await relay(
        lambda: leading(world, postgres),
        producers.session,
        clock=world.clock,
        sleep=world.sleep,
    )

"""Partitions handed over by a rebuild: their owner goes on, nobody else does, on every backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from projections.analytics.memory import MemoryFlushLog
from projections.batch import Batch, Checkpoint, Partition
from projections.lane import Lane
from projections.memory import MemoryStore
from projections.postgres import queries
from projections.postgres.flushes import PostgresFlushLog
from projections.postgres.migrate import migrate
from projections.postgres.pool import acquire, open_pool
from projections.postgres.store import PostgresStore
from projections.projector import Outcome, Projector
from projections.store import Fenced, OtherVersion
from schemas.envelope import Event
from tests import totals
from tests.builders import events_of, posted
from tests.totals import TOTALS, Totals

HandOver = Callable[[int], Awaitable[None]]

_sql = queries.load("projections.postgres", "rebuild.sql")


@dataclass
class Backend:
    store: Any
    flushes: Any
    hand_over: HandOver
    name: str = Totals.name


@pytest.fixture(params=["memory", "postgres"])
async def backend(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Backend]:
    if request.param == "memory":
        store, flushes = MemoryStore(), MemoryFlushLog()

        async def remember(version: int) -> None:
            store.hand_over(Totals.name, version)
            flushes.hand_over(version)

        yield Backend(store, flushes, remember)
        return
    async with open_pool(database) as pool:
        await migrate(pool)

        async def swap(version: int) -> None:
            async with acquire(pool) as connection, connection.transaction():
                await connection.execute(_sql["hand_over"], Totals.name)
                await connection.execute(_sql["is_of_version"], Totals.name, version)

        async with acquire(pool) as connection:
            await connection.execute(totals.DDL)
        yield Backend(PostgresStore(pool), PostgresFlushLog(pool), swap)


def batch_of(events: list[Event]) -> Batch:
    topic, partition, start = events[0].position
    return Batch(topic, partition, start, events[-1].position.offset + 1, events)


def place_of(events: list[Event]) -> Partition:
    return Partition(*events[0].position[:2])


EVENTS = events_of([posted("1", user="usr_1", id=f"handed-{n}") for n in range(4)])


async def projector(backend: Backend, projection: Totals | None = None) -> Projector:
    made = Projector(projection or Totals(), backend.store)
    await made.take([place_of(EVENTS)])
    return made


async def test_the_owner_goes_on_after_any_number_of_swaps(backend: Backend) -> None:
    mine = await projector(backend)
    await mine.apply([batch_of(EVENTS[:2])])
    await backend.hand_over(1)
    await backend.hand_over(1)
    with pytest.raises(Fenced):
        await mine.apply([batch_of(EVENTS[2:])])
    assert await mine.regain()
    outcome = await mine.apply([batch_of(EVENTS[2:])])
    assert isinstance(outcome, Outcome)
    assert not await mine.regain(), "what was taken once is not handed over any more"
    checkpoint = await backend.store.checkpoint(Totals.name, place_of(EVENTS))
    assert checkpoint.next_offset == EVENTS[-1].position.offset + 1


async def test_a_zombie_does_not_go_on(backend: Backend) -> None:
    zombie = await projector(backend)
    owner = await projector(backend)
    await backend.hand_over(1)
    assert not await zombie.regain()
    with pytest.raises(Fenced):
        await zombie.apply([batch_of(EVENTS[:2])])
    assert await owner.regain()


async def test_whoever_took_the_partition_since_keeps_it(backend: Backend) -> None:
    before = await projector(backend)
    await backend.hand_over(1)
    since = await projector(backend)
    assert not await before.regain()
    await since.apply([batch_of(EVENTS[:2])])


async def test_code_of_another_version_neither_takes_nor_goes_on(backend: Backend) -> None:
    old = await projector(backend)
    await backend.hand_over(2)
    with pytest.raises(OtherVersion, match="code is version 1, the tables are version 2"):
        await old.regain()
    with pytest.raises(OtherVersion, match="`streams rebuild totals`"):
        await projector(backend)

    class Next(Totals):
        version = 2

    await (await projector(backend, Next())).apply([batch_of(EVENTS[:2])])


async def test_a_lane_applies_the_batch_in_hand_to_the_new_tables(backend: Backend) -> None:
    mine = await projector(backend)
    await backend.hand_over(1)
    done = asyncio.Event()

    async def reached(_: Mapping[Partition, int]) -> None:
        """Nothing to wait for."""

    lane = Lane(mine, reached, lambda *_: done.set())
    task = asyncio.create_task(lane.run())
    try:
        lane.offer(batch_of(EVENTS))
        await asyncio.wait_for(done.wait(), 30)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    rows = await backend.store.load([next(iter(Totals().wants(EVENTS[0])))])
    ((row,),) = rows.values()
    assert (row.total, row.entries) == (Decimal(4), 4)
    assert TOTALS.key_of(row) == ("usr_1", "acc_1")


async def test_flushes_are_handed_over_likewise(backend: Backend) -> None:
    place = place_of(EVENTS)
    log = backend.flushes
    zombie = (await log.take(Totals.name, [place]))[place]
    owner = (await log.take(Totals.name, [place]))[place]
    assert await log.version(Totals.name, 1) == 1
    await backend.hand_over(2)
    held = {place: Checkpoint(owner.next_offset, zombie.epoch)}
    assert await log.regain(Totals.name, held) == {}
    held = {place: Checkpoint(owner.next_offset, owner.epoch)}
    back = await log.regain(Totals.name, held)
    assert back == {place: Checkpoint(owner.next_offset, owner.epoch + 1)}
    assert await log.regain(Totals.name, held) == back, "an answer may have been lost"
    assert await log.regain(Totals.name, back) == {}
    assert await log.version(Totals.name, 1) == 2

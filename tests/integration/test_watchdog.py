"""Partitions that stand still on a real stack: noticed, reported, healed, and nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiokafka
import faust
import pytest

import streams.worker
from compose.local import Stack
from projections.analytics.append import AppendTable, Values
from projections.analytics.appender import Analytics
from projections.analytics.memory import MemoryAppendStore
from projections.analytics.tables import EVENTS
from projections.health import Health
from projections.postgres.flushes import PostgresFlushLog
from projections.postgres.progress import checkpoints
from projections.postgres.store import PostgresStore
from projections.projector import Fate
from projections.store import Store
from projections.tables import Row, Want
from streams.crew import Appender, Crew
from streams.ends import readable_ends
from streams.status import state_of
from streams.watchdog import HEALS_MAX, Unhealed, Watch, Watchdog
from streams.worker import tend
from tests.builders import posted
from tests.worker_running import BROKERS, SECONDS_MAX, Running, World, a_world, ended, stack_of

#: Short, so that the test is; a fetch or a commit of these few events takes far less.
STALL_SECONDS = 2.0


@pytest.fixture(scope="module", params=BROKERS)
def own_stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    with stack_of(request.param) as stack:
        yield stack


@pytest.fixture
async def world(own_stack: Stack, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(own_stack, tmp_path) as world:
        yield world


@dataclass
class Guarded:
    """A worker with a watchdog, and the Faust apps that it has had."""

    world: World
    running: Running
    health: Health
    watchdog: Watchdog
    apps: list[faust.App] = field(default_factory=list)

    async def healed(self, before: int = 0) -> None:
        """Wait for a new beginning; the worker is not ready meanwhile, and says why.

        ``before`` is how many there were: a busy machine may have needed one already.
        """
        await self.until(lambda: self.watchdog.heals > before)
        state = state_of(self.health)
        assert not state["ready"]
        assert any(each["part"] == "watchdog" for each in state["reasons"])

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while not holds():
                if self.running.task.done():
                    self.running.task.result()
                await asyncio.sleep(0.02)

    def in_consumer_thread(self, act: Callable[[aiokafka.AIOKafkaConsumer], None]) -> None:
        """Do something to the consumer of the newest app, in the thread that it lives in."""
        thread: Any = self.apps[-1].consumer._thread
        thread.thread_loop.call_soon_threadsafe(act, thread._consumer)


@pytest.fixture
def apps(monkeypatch: pytest.MonkeyPatch) -> list[faust.App]:
    """Every Faust app that a worker makes."""
    made: list[faust.App] = []
    create = streams.worker.create_app

    def created(crew: Crew, group: str, folder: Path) -> faust.App:
        made.append(create(crew, f"{group}.{uuid4().hex}", folder))
        return made[-1]

    monkeypatch.setattr(streams.worker, "create_app", created)
    return made


async def guarded(
    world: World,
    apps: list[faust.App],
    *,
    store: Store | None = None,
    appenders: Sequence[Appender] = (),
    new: Callable[[Crew], None] = lambda crew: None,
) -> Guarded:
    make, fates = await world.crews(store, appenders)
    health = Health()
    watchdog = Watchdog(
        Watch(STALL_SECONDS, in_hand_seconds=0.0),
        partial(readable_ends, world.stack.kafka),
        partial(checkpoints, world.pool),
        health,
    )

    def new_crew() -> Crew:
        crew = make()
        crew.health = health
        new(crew)
        return crew

    stop = asyncio.Event()
    task = asyncio.create_task(tend(new_crew, world.folder / "guarded", stop, watchdog))
    return Guarded(world, Running(stop, task, fates), health, watchdog, apps)


async def entries(world: World) -> int:
    (row,) = await world.fetch("select coalesce(sum(entries), 0) from totals")
    return int(row[0])


def postings(name: str, count: int = 300) -> list[Any]:
    return [posted("1", user=f"usr_{n % 40}", id=f"{name}-{n}-{uuid4()}") for n in range(count)]


def pause(consumer: aiokafka.AIOKafkaConsumer) -> None:
    consumer.pause(*consumer.assignment())


def lose_the_fetch_task(consumer: aiokafka.AIOKafkaConsumer) -> None:
    consumer._fetcher._fetch_task.cancel()


@pytest.mark.parametrize("harm", [pause, lose_the_fetch_task])
async def test_a_consumer_that_stops_fetching_is_begun_anew(
    world: World, apps: list[faust.App], harm: Callable[[Any], None]
) -> None:
    await world.send(postings("before"))
    worker = await guarded(world, apps)
    await world.caught_up(worker.running)
    before = await entries(world)
    assert worker.watchdog.heals == 0
    assert state_of(worker.health)["ready"]
    worker.in_consumer_thread(harm)
    await world.send(postings("after"))
    await worker.healed()
    await world.caught_up(worker.running)
    assert await entries(world) == before + 300
    assert len(worker.apps) == 2
    await worker.until(lambda: bool(state_of(worker.health)["ready"]))
    await ended(worker.running)


async def test_an_agent_that_was_cancelled_costs_nothing(
    world: World, apps: list[faust.App]
) -> None:
    """Faust may start it anew by itself, or not: what it missed is folded all the same."""
    worker = await guarded(world, apps)
    await world.caught_up(worker.running)
    before = await entries(world)
    (agent,) = [each for name, each in worker.apps[0].agents.items() if "totals" in name]
    for actor in agent._actors:
        actor.actor_task.cancel()
    await world.send(postings("agent"))
    await world.caught_up(worker.running)
    assert await entries(world) == before + 300
    await ended(worker.running)


class Hanging(PostgresStore):
    """Does not answer its first question."""

    hung = False

    async def load(self, wants: Sequence[Want]) -> Mapping[Want, Sequence[Row]]:
        if not self.hung:
            self.hung = True
            await asyncio.Event().wait()
        return await super().load(wants)


async def test_a_lane_that_hangs_is_begun_anew(world: World, apps: list[faust.App]) -> None:
    await world.send(postings("lane"))
    worker = await guarded(world, apps, store=Hanging(world.pool))
    await worker.healed()
    await world.caught_up(worker.running)
    assert worker.running.applied[Fate.APPLIED] == await entries(world)
    await ended(worker.running)


class HangingAppends(MemoryAppendStore):
    """Does not answer the first insert."""

    hung = False

    async def send(self, table: AppendTable, block: bytes, token: str) -> None:
        if not self.hung:
            self.hung = True
            await asyncio.Event().wait()
        await super().send(table, block, token)


async def test_an_appender_that_hangs_is_begun_anew(world: World, apps: list[faust.App]) -> None:
    from projections.intake import Intake
    from projections.postgres.index import PostgresIndex
    from schemas.topics import TOPICS
    from streams.reread import Rereader
    from streams.topics import partition_counts

    await world.send(postings("append"))
    index = await PostgresIndex.open(world.pool, list(TOPICS))
    intake = Intake(index, await partition_counts(world.stack.kafka), "bfc")
    store = HangingAppends()
    appender = Analytics(store, PostgresFlushLog(world.pool), Rereader(world.stack.kafka, intake))
    worker = await guarded(world, apps, appenders=[appender])
    await worker.healed()
    await world.caught_up(worker.running)
    ends = await readable_ends(world.stack.kafka, worker_places(worker))
    await worker.until(lambda: len(store.rows(EVENTS)) >= sum(ends.values()) // 2)
    rows: list[Values] = store.rows(EVENTS)
    assert len({row[:3] for row in rows}) == len(rows)
    await ended(worker.running)


def worker_places(worker: Guarded) -> list[Any]:
    return [each.place for each in worker.watchdog.standings]


async def test_a_stall_that_no_beginning_heals_ends_the_worker(
    world: World, apps: list[faust.App]
) -> None:
    await world.send(postings("never"))

    def deaf(crew: Crew) -> None:
        async def hand(name: str, part: Any, generation: int) -> None:
            """What is handed over is lost."""

        crew.hand = hand  # type: ignore[method-assign]

    worker = await guarded(world, apps, new=deaf)
    with pytest.raises(Unhealed, match=f"{HEALS_MAX} new beginnings did not help: totals stands"):
        await asyncio.wait_for(worker.running.task, SECONDS_MAX)
    assert len(worker.apps) == HEALS_MAX + 1


async def test_a_lane_that_was_fenced_while_the_group_says_it_is_ours_takes_again(
    world: World, apps: list[faust.App]
) -> None:
    worker = await guarded(world, apps)
    await world.caught_up(worker.running)
    before, heals = await entries(world), worker.watchdog.heals
    await world.fetch("update checkpoints set epoch = epoch + 5 returning 1")
    await world.send(postings("fenced"))
    await worker.healed(heals)
    await world.caught_up(worker.running)
    assert await entries(world) == before + 300
    await ended(worker.running)

"""Rebuilding while a worker folds and readers read, on a real broker and database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from compose.commands.rebuild import How, places_of, rebuild_rows
from compose.local import Stack
from compose.settings import Settings
from projections.intake import Intake
from projections.postgres.index import PostgresIndex
from projections.postgres.outbox import leading
from projections.postgres.pool import acquire
from projections.postgres.reading import one_state
from projections.postgres.rebuild import PostgresBeside, drop_old, leading_rebuild
from projections.projection import Projection
from projections.projector import Fate
from projections.rebuild import RebuildRuns, Standing
from projections.rows import Rows
from projections.store import OtherVersion
from schemas.envelope import Event
from schemas.topics import TOPICS
from streams.topics import partition_counts
from tests.builders import posted
from tests.totals import TOTALS, Total, Totals
from tests.worker_running import SECONDS_MAX, World, a_world, ended, stack_of


class DoubledTotals(Totals):
    """The next version: every amount counts twice, and nothing is refused."""

    version = 2

    def fold(self, rows: Rows, event: Event) -> None:
        key = (event.user_id, event.data.account)
        before = rows.get(TOTALS, *key) or Total(event.user_id or "", key[1], Decimal(0), 0, ())
        total = before.total + 2 * event.data.amount
        rows.put(TOTALS, Total(before.user_id, before.account, total, before.entries + 1, ()))


class SternTotals(Totals):
    """A next version that refuses more."""

    version = 2

    def fold(self, rows: Rows, event: Event) -> None:
        if event.data.amount == 5:
            rows.refuse("data.amount", "is five")
        super().fold(rows, event)


class TimedTotals(Totals):
    """Sets a timer for each posting, due in an hour, or long ago if the amount is 7."""

    def fold(self, rows: Rows, event: Event) -> None:
        super().fold(rows, event)
        due = event.time - timedelta(days=9) if event.data.amount == 7 else _later(event.time)
        rows.timer(f"of {event.id}", event.user_id or "", due, {})


def _later(time: datetime) -> datetime:
    return time + timedelta(days=365)


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    with stack_of("tansu") as stack:
        yield stack


@pytest.fixture
async def world(own_stack: Stack, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(own_stack, tmp_path) as world:
        yield world


async def rebuilt(world: World, projection: Projection, tell: Any = lambda _: None) -> None:
    counts = await partition_counts(world.stack.kafka)
    index = await PostgresIndex.open(world.pool, list(TOPICS))
    settings = Settings(
        kafka=world.stack.kafka, postgres=world.url, clickhouse=world.stack.clickhouse
    )
    places = places_of(projection.topics, counts)
    intake = Intake(index, counts, "bfc")
    await rebuild_rows(settings, projection, places, intake, tell, How())


@asynccontextmanager
async def traffic(world: World) -> AsyncIterator[list[int]]:
    """Postings of 1, one after the other, for as long as the block lasts."""
    sent = [0]

    async def send() -> None:
        while True:
            await world.send([posted("1", user=f"usr_{n}") for n in range(20)])
            sent[0] += 20

    task = asyncio.create_task(send())
    try:
        yield sent
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_readers_see_old_or_new_and_the_worker_of_the_old_version_stops(
    world: World,
) -> None:
    await world.send([posted("1", user=f"usr_{n % 50}") for n in range(4000)])
    running = await world.worker()
    await world.caught_up(running)
    # Each reader has a list of its own: what one of them saw is only in order by itself.
    seen: list[list[tuple[int, int]]] = [[], [], []]
    more = asyncio.Event()

    async def read(seen: list[tuple[int, int]]) -> None:
        while True:
            async with acquire(world.pool) as connection, one_state(connection, [TOTALS]):
                total = await connection.fetchval("select sum(total) from totals")
                await asyncio.sleep(0)
                entries = await connection.fetchval("select sum(entries) from totals")
            seen.append((int(total), int(entries)))
            more.set()

    readers = [asyncio.create_task(read(of_one)) for of_one in seen]
    try:
        async with traffic(world):
            await rebuilt(world, DoubledTotals())
            with pytest.raises(OtherVersion, match=r"`streams rebuild totals`"):
                await asyncio.wait_for(running.task, SECONDS_MAX)
        async with asyncio.timeout(SECONDS_MAX):
            while not all(of_one and of_one[-1][0] == 2 * of_one[-1][1] for of_one in seen):
                more.clear()
                await more.wait()
    finally:
        for task in readers:
            task.cancel()
        ends = await asyncio.gather(*readers, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    for of_one in seen:
        factors = [total / entries for total, entries in of_one]
        assert set(factors) == {1.0, 2.0}, "old and new mixed"
        assert factors == sorted(factors), "old after new"
        assert all(later[1] >= earlier[1] for earlier, later in pairwise(of_one)), "went back"


async def test_the_worker_goes_on_by_itself_and_nothing_is_lost_or_twice(world: World) -> None:
    await world.send([posted("1", user=f"usr_{n % 50}", id=f"a-{n}") for n in range(4000)])
    await world.send([posted("2000", user="usr_rich", id=f"big-{n}") for n in range(30)])
    running = await world.worker()
    await world.caught_up(running)
    (owed,) = await world.fetch("select count(*) from outbox")
    assert owed[0] == 30
    async with traffic(world) as sent:
        for _ in range(2):
            await rebuilt(world, Totals())
    await world.send([posted("1", user=f"usr_{n % 50}", id=f"b-{n}") for n in range(500)])
    await world.caught_up(running)
    assert not running.task.done()
    (row,) = await world.fetch("select sum(total), sum(entries) from totals")
    assert tuple(row) == (4500 + 60_000 + running_total(row), 4530 + running_total(row))
    assert running_total(row) >= sent[0]
    assert running.applied[Fate.APPLIED] == row[1], "an event was folded twice or not at all"
    (again,) = await world.fetch("select count(*) from outbox")
    assert again[0] == owed[0], "a derived event is owed a second time"
    assert await world.fetch("select name from projections where version = 1")
    assert not await world.fetch("select 1 from rebuilds")
    assert await drop_old(world.pool, "totals")
    await ended(running)


def running_total(row: Any) -> int:
    """How many postings of 1 the traffic brought."""
    return int(row[1]) - 4530


async def test_a_rebuild_that_was_interrupted_goes_on(world: World) -> None:
    await world.send([posted("1", user=f"usr_{n % 50}") for n in range(30_000)])
    running = await world.worker()
    await world.caught_up(running)
    half = asyncio.Event()

    def tell(standing: Standing) -> None:
        if standing.done > 2_000:
            half.set()

    first = asyncio.create_task(rebuilt(world, Totals(), tell))
    await asyncio.wait_for(half.wait(), SECONDS_MAX)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    (left,) = await world.fetch("select sum(next_offset) from rebuild_totals.checkpoints")
    assert left[0] >= 2_000
    begins: list[int] = []
    await rebuilt(world, Totals(), lambda standing: begins.append(standing.done))
    assert begins[0] >= 2_000, "it began anew"
    (row,) = await world.fetch("select sum(total), sum(entries) from totals")
    assert tuple(row) == (30_000, 30_000)
    await ended(running)


async def test_two_rebuilds_of_one_projection_exclude_each_other(world: World) -> None:
    running = await world.worker()
    await world.caught_up(running)
    async with leading_rebuild(world.url) as lead:
        assert not await PostgresBeside(lead, Totals()).begin()
        with pytest.raises(RebuildRuns, match="another rebuild of totals"):
            await rebuilt(world, Totals())
    await rebuilt(world, Totals())
    await ended(running)


async def test_dead_letters_are_those_of_the_new_tables_and_known_ones_are_not_sent_again(
    world: World,
) -> None:
    await world.send([posted("666", user="usr_1", id=f"bad-{n}") for n in range(3)])
    await world.send([posted("5", user="usr_1", id=f"five-{n}") for n in range(2)])
    running = await world.worker()
    await world.caught_up(running)
    await ended(running)
    letters = "select event_id, state from dead_letters order by event_id"
    await world.fetch("update dead_letters set state = 'discarded' where event_id = 'bad-1'")
    before = await world.fetch(letters)
    owed = await world.fetch("select seq, identity from outbox order by seq")
    await rebuilt(world, Totals())
    assert await world.fetch(letters) == before
    assert await world.fetch("select seq, identity from outbox order by seq") == owed
    await rebuilt(world, SternTotals())
    assert [row[0] for row in await world.fetch(letters)] == [
        *("bad-0", "bad-1", "bad-2"),
        *("five-0", "five-1"),
    ]
    now = await world.fetch("select seq, topic from outbox order by seq")
    fresh = now[len(owed) :]
    assert [row[1] for row in fresh] == ["dead-letters"] * 2
    await rebuilt(world, DoubledTotals())
    assert await world.fetch(letters) == []


async def test_timers_wait_once_and_those_that_have_fired_do_not_fire_again(world: World) -> None:
    await world.send([posted("1", user="usr_1", id=f"waits-{n}") for n in range(4)])
    await world.send([posted("7", user="usr_1", id=f"fires-{n}") for n in range(3)])
    running = await world.worker(projection=TimedTotals())
    await world.caught_up(running)
    async with leading(world.url) as outbox:
        assert await outbox.fire_timers(datetime.now(UTC), 100) == 3
    timers = "select user_id, timer, due, payload from timers order by timer"
    before = await world.fetch(timers)
    assert len(before) == 4
    await rebuilt(world, TimedTotals())
    assert await world.fetch(timers) == before
    async with leading(world.url) as outbox:
        assert await outbox.fire_timers(datetime.now(UTC), 100) == 0
    await ended(running)


class Heard(logging.Filter):
    """Tells when something is logged."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.said = asyncio.Event()
        self._text = text

    def filter(self, record: logging.LogRecord) -> bool:
        if self._text in record.getMessage():
            self.said.set()
        return True


async def test_the_swap_gives_way_to_a_long_reading_and_live_traffic(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.send([posted("1", user=f"usr_{n % 50}") for n in range(500)])
    running = await world.worker()
    await world.caught_up(running)
    waits = Heard("the swap waits")
    caplog.handler.addFilter(waits)
    with caplog.at_level(logging.INFO, "projections.rebuild"):
        async with acquire(world.pool) as connection, one_state(connection, [TOTALS]):
            before = await connection.fetchval("select sum(total) from totals")
            rebuilding = asyncio.create_task(rebuilt(world, DoubledTotals()))
            await asyncio.wait_for(waits.said.wait(), SECONDS_MAX)
            await world.send([posted("1", user="usr_1")])
            await world.caught_up(running)
            assert not rebuilding.done()
            assert await connection.fetchval("select sum(total) from totals") == before
        await asyncio.wait_for(rebuilding, SECONDS_MAX)
    (row,) = await world.fetch("select sum(total) from totals")
    assert row[0] == 2 * 501
    running.stop.set()
    with suppress(OtherVersion):
        await running.task

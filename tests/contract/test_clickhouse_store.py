"""The contract of the append store and of the flush log, on every backend.

The real appender runs over each pair; a store that fails or dies in the middle is one around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import pytest

from compose.local import Stack
from projections.analytics import flusher
from projections.analytics.append import AppendTable, Values
from projections.analytics.tables import EVENTS, JOURNEY_STEPS, PRICES, TABLES, TRANSACTIONS
from projections.batch import Batch, Move, Partition
from projections.clickhouse.client import open_client
from projections.clickhouse.migrate import migrate as migrate_clickhouse
from projections.postgres.migrate import migrate
from projections.postgres.pool import open_pool
from projections.projector import Hole
from projections.store import RowsRefused, Unavailable
from tests.builders import posted
from tests.clickhouse_world import (
    Killed,
    World,
    check,
    expected,
    history,
    in_memory,
    on_servers,
    run,
)
from tests.log import Log


@pytest.fixture(params=["memory", "servers"])
async def world(
    request: pytest.FixtureRequest, stack: Stack, database: str, clickhouse_database: str
) -> AsyncIterator[World]:
    if request.param == "memory":
        yield in_memory()
        return
    async with (
        open_pool(database) as pool,
        open_client(f"{stack.clickhouse}/{clickhouse_database}") as client,
    ):
        await migrate(pool)
        await migrate_clickhouse(client)
        yield on_servers(pool, client)


@pytest.fixture
def kafka() -> Log:
    log = Log()
    log.append(history())
    return log


async def test_every_event_once(world: World, kafka: Log) -> None:
    await run(world.worker(kafka), kafka)
    await check(world, kafka)
    # One insert for each table and flush, whatever the number of batches.
    tokens = {token.split(":")[0] for _, token in world.store.sent}
    assert len(world.store.sent) <= 5 * len(tokens)


async def test_a_second_worker_goes_on_where_the_first_stopped(world: World, kafka: Log) -> None:
    await run(world.worker(kafka), kafka)
    kafka.append(history(months=1))
    await run(world.worker(kafka), kafka)
    await check(world, kafka)
    assert kafka.rereads == 0


@pytest.mark.parametrize("table", ["events", "transactions", "prices", "journey_steps", "sessions"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_killed_around_an_insert(world: World, kafka: Log, table: str, moment: str) -> None:
    getattr(world.store, moment)[table] = [Killed()]
    with pytest.raises(Killed):
        await run(world.worker(kafka), kafka)
    await run(world.worker(kafka), kafka)
    await check(world, kafka)


async def test_killed_when_only_some_months_had_arrived(world: World, kafka: Log) -> None:
    world.store.before["transactions"] = [Killed()]
    with pytest.raises(Killed):
        await run(world.worker(kafka), kafka, size=100)
    token = next(token for name, token in world.store.sent if name == "events")
    flush = token.split(":")[0]
    # The insert of the dead worker arrives in part: one month of three.
    late, rows = world.store.encoded["transactions"]
    months = {row[3].month for row in rows}
    assert len(months) > 1
    some = [row for row in rows if row[3].month == min(months)]
    await world.store.send(
        TRANSACTIONS, world.store.encode(TRANSACTIONS, some), f"{flush}:transactions"
    )
    await run(world.worker(kafka), kafka)
    await check(world, kafka)
    # And arrives as a whole after all, when the repair is done.
    await world.store.send(TRANSACTIONS, late, f"{flush}:transactions")
    await check(world, kafka)


async def test_the_broker_is_away_during_a_repair(
    world: World, kafka: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store.before["prices"] = [Killed()]
    with pytest.raises(Killed):
        await run(world.worker(kafka), kafka, size=100)
    reread, errors = kafka.reread, [Unavailable("no broker")] * 2

    async def refusing(move: Move) -> Sequence[Batch]:
        if errors:
            raise errors.pop()
        return await reread(move)

    monkeypatch.setattr(kafka, "reread", refusing)
    await run(world.worker(kafka), kafka)
    assert not errors
    await check(world, kafka)


async def test_a_store_that_is_away_for_a_while(world: World, kafka: Log) -> None:
    away = [Unavailable("away") for _ in range(5)]
    world.store.before["events"] = away[:3]
    world.store.after["prices"] = away[3:]  # it took effect, and the answer was lost
    await run(world.worker(kafka), kafka)
    await check(world, kafka)


async def test_the_log_of_flushes_loses_its_answers(
    world: World, kafka: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("open", "close"):
        _lose_answer(monkeypatch, world.log, name)
    await run(world.worker(kafka), kafka)
    await check(world, kafka)


def _lose_answer(monkeypatch: pytest.MonkeyPatch, log: Any, name: str) -> None:
    real, lost = getattr(log, name), []

    async def losing(*arguments: Any) -> None:
        await real(*arguments)
        if not lost:
            lost.append(name)
            raise Unavailable("the answer was lost")

    monkeypatch.setattr(log, name, losing)


async def test_a_fenced_worker_writes_nothing_more(world: World, kafka: Log) -> None:
    first, second = world.worker(kafka), world.worker(kafka)
    places = kafka.places()
    moved, kept = places[:1], places[1:]
    await first.take(places)
    await second.take(moved)
    for place in places:
        await first.append(kafka.batch(place))
    await first.close()
    wanted = {place: len(kafka.records[place]) for place in kept} | dict.fromkeys(moved, 0)
    assert await world.offsets() == wanted
    for place in moved:
        await second.append(kafka.batch(place))
    await second.close()
    await check(world, kafka)


async def test_a_partition_moves_while_its_flush_is_under_way(world: World, kafka: Log) -> None:
    first, second = world.worker(kafka), world.worker(kafka)
    places = kafka.places()
    await first.take(places)
    reached, go_on = asyncio.Event(), asyncio.Event()
    send = world.store.send

    async def slowly(table: AppendTable, block: bytes, token: str) -> None:
        if table is TRANSACTIONS and not reached.is_set():
            reached.set()
            await go_on.wait()
        await send(table, block, token)

    world.store.send = slowly  # type: ignore[method-assign]
    for place in places:
        await first.append(kafka.batch(place))
    await reached.wait()
    starts = await second.take(places[:2])
    go_on.set()
    await first.close()
    for place, start in starts.items():
        await second.append(kafka.batch(place, start))
    await second.close()
    await check(world, kafka)


async def test_a_hole_is_never_skipped(world: World, kafka: Log) -> None:
    worker = world.worker(kafka)
    place = Partition(
        "market.prices", next(p.partition for p in kafka.places() if "prices" in p[0])
    )
    await worker.take([place])
    with pytest.raises(Hole):
        await worker.append(kafka.batch(place, 2))
    await worker.append(kafka.batch(place, 0, 3))
    await worker.append(kafka.batch(place, 1))
    await worker.close()
    assert await world.offsets() == {place: len(kafka.records[place])}


async def test_a_row_that_does_not_fit_is_a_dead_letter_and_can_be_retried(
    world: World, kafka: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = posted("66.6", user="usr_1")
    kafka.append([poison, *history(months=1)])
    encode = world.store.encode

    def picky(table: AppendTable, rows: Sequence[Values]) -> bytes:
        if table is TRANSACTIONS and any(row[8] == Decimal("66.6") for row in rows):
            raise RowsRefused("66.6 does not fit")
        return encode(table, rows)

    monkeypatch.setattr(world.store, "encode", picky)
    await run(world.worker(kafka), kafka)
    where = next(event.position for event in kafka.events() if event.id == poison.id)
    assert await world.letters() == [(where.topic, where.offset)]
    assert tuple(where) in await world.rows(EVENTS)
    assert tuple(where) not in await world.rows(JOURNEY_STEPS)

    monkeypatch.setattr(world.store, "encode", encode)
    kafka.append([poison])
    await run(world.worker(kafka), kafka)
    again = [event.position for event in kafka.events() if event.id == poison.id][-1]
    assert await world.letters() == []
    assert tuple(again) in await world.rows(TRANSACTIONS)
    assert tuple(again) in await world.rows(JOURNEY_STEPS)


async def test_a_row_that_the_server_refuses_is_left_out_alone(world: World, kafka: Log) -> None:
    blocks: dict[bytes, Sequence[Values]] = {}
    encode, send = world.store.encode, world.store.send

    def remember(table: AppendTable, rows: Sequence[Values]) -> bytes:
        block = encode(table, rows)
        blocks[block] = list(rows)
        return block

    async def constrained(table: AppendTable, block: bytes, token: str) -> None:
        if table is PRICES and any(row[2] == 4 for row in blocks[block]):
            raise RowsRefused("offset 4 is not wanted here")
        await send(table, block, token)

    world.store.encode = remember  # type: ignore[method-assign]
    world.store.send = constrained  # type: ignore[method-assign]
    world.store.after["journey_steps"] = [Killed()]
    with pytest.raises(Killed):
        await run(world.worker(kafka), kafka)
    await run(world.worker(kafka), kafka)
    prices = [row for row in expected(kafka)["prices"] if row[2] != 4]
    assert sorted(await world.rows(PRICES)) == prices
    assert await world.letters() == [("market.prices", 4)]


async def test_who_adds_too_much_waits(
    world: World, kafka: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flusher, "FLUSH_ROWS_MAX", 5)
    monkeypatch.setattr(flusher, "PENDING_ROWS_MAX", 6)
    gate, waits = asyncio.Event(), asyncio.Event()
    send = world.store.send

    async def waiting(table: AppendTable, block: bytes, token: str) -> None:
        waits.set()
        await gate.wait()
        await send(table, block, token)

    world.store.send = waiting  # type: ignore[method-assign]
    worker = world.worker(kafka)
    task = asyncio.create_task(run(worker, kafka, size=1))
    async with asyncio.timeout(20):
        while worker.pending_rows < 6:  # noqa: ASYNC110 - nobody is told of what is pending
            await asyncio.sleep(0.001)
    for _ in range(100):
        await asyncio.sleep(0)
    assert worker.pending_rows < 6 + 4
    gate.set()
    await task
    await check(world, kafka)


async def test_the_store_counts_and_tells_ranges(world: World, kafka: Log) -> None:
    await run(world.worker(kafka), kafka)
    place = Partition(
        "market.prices", next(p.partition for p in kafka.places() if "prices" in p[0])
    )
    move = Move(*place, 1, 4, epoch=9)
    assert await world.store.count(PRICES, [move]) == 3
    assert {found.offset for found in await world.store.present(PRICES, [move])} == {1, 2, 3}
    nothing = Move("market.prices", place.partition + 50, 0, 100, 1)
    assert await world.store.count(PRICES, [nothing]) == 0


@pytest.mark.parametrize("lost", [(), ("journey_steps",), ("transactions", "prices")])
async def test_rows_beyond_restored_checkpoints_are_not_sent_again(
    world: World, kafka: Log, lost: tuple[str, ...]
) -> None:
    """Checkpoints of an earlier time: the rows stay, also half a flush, and the rest is sent."""
    await run(world.worker(kafka), kafka, size=100)
    backup = await world.backup()
    for _ in range(3):
        kafka.append(history(months=2))
        await run(world.worker(kafka), kafka)
    kafka.append(history(months=3, people=2))
    for name in lost:
        # Killed in the middle of its last flush, which nobody knows of after the restore.
        world.store.before[name] = [Killed()]
    if lost:
        with pytest.raises(Killed):
            await run(world.worker(kafka), kafka, size=100)
    for name in lost:
        world.store.before[name] = []
    await world.restore(backup)
    tables = [table for table in TABLES if not table.merges]
    there = {table.name: len(await world.rows(table)) for table in tables}
    kafka.append(history(months=1))
    worker = world.worker(kafka)
    starts = await worker.take(kafka.places())
    for place, start in starts.items():
        for first in range(start, len(kafka.records[place])):
            await worker.append(kafka.batch(place, first, first + 1))
        for table in tables:
            # Analysts never see less than there was.
            assert len(await world.rows(table)) >= there[table.name]
    await worker.close()
    await check(world, kafka)


async def test_a_crash_while_rows_beyond_restored_checkpoints_are_completed(
    world: World, kafka: Log
) -> None:
    backup = await world.backup()
    world.store.before["journey_steps"] = [Killed()]
    with pytest.raises(Killed):
        await run(world.worker(kafka), kafka, size=100)
    await world.restore(backup)
    world.store.after["journey_steps"] = [Killed()]
    with pytest.raises(Killed):
        await run(world.worker(kafka), kafka, size=100)
    await run(world.worker(kafka), kafka)
    await check(world, kafka)


async def test_the_store_tells_what_lies_beyond(world: World, kafka: Log) -> None:
    await run(world.worker(kafka), kafka)
    ends = {place: len(records) for place, records in kafka.records.items()}
    assert await world.store.ahead(EVENTS, dict.fromkeys(ends, 0)) == ends
    assert await world.store.ahead(EVENTS, ends) == {}
    place, end = next(iter(ends.items()))
    assert await world.store.ahead(EVENTS, {**ends, place: end - 1}) == {place: end}

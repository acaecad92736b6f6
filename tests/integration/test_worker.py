"""A worker on a real broker: Faust carries, the crew folds, the relay pays what is owed.

These tests lean on the parts of Faust and aiokafka that ``streams/transport.py`` overrides, and
fail when those move.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer as Client

from compose.local import Stack
from projections.batch import Partition
from projections.log_identity import LogMismatch
from projections.postgres.outbox import leading
from projections.postgres.pool import acquire
from projections.projector import Fate
from streams import app, backlog, transport
from streams.producer import Producer, ProducerSettings
from streams.relay import relay
from streams.relay_log import kafka_log
from tests.builders import draft, posted
from tests.e2e.system import read_log
from tests.totals import Totals
from tests.worker_running import BROKERS, SECONDS_MAX, World, a_world, ended, stack_of


@pytest.fixture(scope="module", params=BROKERS)
def own_stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    with stack_of(request.param) as stack:
        yield stack


@pytest.fixture
async def world(own_stack: Stack, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(own_stack, tmp_path) as world:
        yield world


async def test_events_become_rows_and_bad_records_dead_letters(world: World) -> None:
    await world.send([posted("1.5", user=f"usr_{n % 50}", id=f"rows-{n}") for n in range(3000)])
    client = Client({"bootstrap.servers": world.stack.kafka})
    client.produce("bfc.ledger", b"not json", key=b"usr_1", headers=[("mine", b"kept")])
    client.produce("bfc.ledger", None, key=b"usr_2")
    client.flush()
    running = await world.worker()
    publishing = asyncio.create_task(
        relay(lambda: leading(world.url), lambda: kafka_log(world.stack.kafka))
    )
    try:
        await world.caught_up(running)
        rows = await world.fetch("select sum(total), sum(entries) from totals")
        assert tuple(rows[0]) == (Decimal(4500), 3000)
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                (row,) = await world.fetch("select count(*) from outbox")
                if row[0] == 0:
                    break
                await asyncio.sleep(0.02)
    finally:
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        await ended(running)
    letters = [
        r for r in await asyncio.to_thread(read_log, world.stack.kafka) if r.topic == "dead-letters"
    ]
    assert {letter.value for letter in letters} == {b"not json", None}
    (first,) = [letter for letter in letters if letter.value]
    assert first.headers[0] == ("mine", b"kept")
    assert [name for name, _ in first.headers[1:]] == [
        "dl-projection",
        "dl-reason",
        "dl-topic",
        "dl-partition",
        "dl-offset",
    ]
    assert first.key == b"usr_1"


async def test_workers_that_come_and_go_apply_everything_once(world: World) -> None:
    before = {r[0]: r[1] for r in await world.fetch("select 'entries', sum(entries) from totals")}
    assert before == {"entries": None}
    one = await world.worker("one")
    await world.send([posted("1", user=f"usr_{n % 90}", id=f"share-a-{n}") for n in range(2000)])
    two = await world.worker("two")
    await world.send([posted("1", user=f"usr_{n % 90}", id=f"share-b-{n}") for n in range(2000)])
    async with asyncio.timeout(SECONDS_MAX):
        while not two.applied[Fate.APPLIED]:
            await world.send([posted("1", user=f"usr_{n}") for n in range(90)])
            if one.task.done():
                one.task.result()
            await asyncio.sleep(0.05)
    await ended(one)
    await world.send([posted("1", user=f"usr_{n % 90}", id=f"share-c-{n}") for n in range(500)])
    await world.caught_up(two)
    await ended(two)
    log = [
        r for r in await asyncio.to_thread(read_log, world.stack.kafka) if r.topic == "bfc.ledger"
    ]
    good = sum(1 for record in log if record.value not in (None, b"not json"))
    rows = await world.fetch("select sum(entries) from totals")
    assert rows[0][0] == good


async def test_a_worker_far_behind_fetches_its_partitions_by_turns(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apache Kafka gives a batch that is larger than a partition's share to the first one only."""
    monkeypatch.setattr(transport, "FETCH_BYTES_MAX", 1_000)
    monkeypatch.setattr(transport, "FETCH_BYTES_LEAST", 1_000)
    turns: list[set[Partition]] = []
    hand_over = transport.BatchConsumer._as_messages

    def noting(self: Any, records: Any, *rest: Any) -> Any:
        turns.append({Partition(*tp) for tp, found in records.items() if found})
        return hand_over(self, records, *rest)

    monkeypatch.setattr(transport.BatchConsumer, "_as_messages", noting)
    for _ in range(25):
        await world.send([posted("1", user=f"usr_{n}") for n in range(120)])
    running = await world.worker()
    await world.caught_up(running)
    await ended(running)
    seen = set().union(*turns)
    assert len(turns) > len(seen) == 6
    for place in seen:
        own = [number for number, turn in enumerate(turns) if place in turn]
        for one, next_one in pairwise(own):
            between = turns[one + 1 : next_one]
            assert max(sum(other in turn for turn in between) for other in seen) <= 5


class Following(Totals):
    """Totals of a projection that waits for the commands that lie before its events."""

    topics = ("app.commands", "bfc.ledger")
    follows_commands = True


async def test_what_waits_for_commands_never_takes_their_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker far behind, which may have little in hand of what it has to read."""
    monkeypatch.setattr(backlog, "OUTSTANDING_RECORDS_TOTAL_MAX", 200)
    monkeypatch.setattr(app, "FETCH_RECORDS_MAX", 100)
    monkeypatch.setattr(transport, "FETCH_BYTES_MAX", 4_000)
    monkeypatch.setattr(transport, "FETCH_BYTES_LEAST", 4_000)
    changed = {"preferences": {"timezone": "Asia/Kolkata"}, "effective": {}}
    async with Producer(ProducerSettings(world.stack.kafka)) as producer:
        for some in range(10):
            people = [f"usr_{some}_{n}" for n in range(60)]
            await producer.send_many([posted("1", user=user) for user in people])
            await producer.send_many(
                [draft("app.preferences.changed", changed, user=user) for user in people]
            )
    running = await world.worker(projection=Following())
    await world.caught_up(running)
    await ended(running)


async def test_markers_of_transactions_move_the_checkpoint(world: World) -> None:
    client = Client({"bootstrap.servers": world.stack.kafka, "transactional.id": "test-markers"})
    client.init_transactions(30)
    running = await world.worker()
    await world.caught_up(running)
    client.begin_transaction()
    client.produce("bfc.ledger", b"x", key=b"usr_1")
    client.commit_transaction(30)
    await world.caught_up(running)
    await ended(running)


async def test_a_checkpoint_beyond_the_log_stops_the_worker_with_the_facts(world: World) -> None:
    async with acquire(world.pool) as connection:
        await connection.execute(
            "insert into checkpoints (projection, topic, partition, next_offset)"
            " values ('totals', 'bfc.ledger', 0, 1000000)"
        )
    running = await world.worker()
    with pytest.raises(LogMismatch, match=r"bfc\.ledger:0 has the offsets 0 to"):
        await asyncio.wait_for(running.task, SECONDS_MAX)

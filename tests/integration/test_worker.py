"""A worker on a real broker: Faust carries, the crew folds, the relay pays what is owed.

These tests lean on the parts of Faust and aiokafka that ``streams/transport.py`` overrides, and
fail when those move.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer as Client

from compose.local import Stack, local_stack
from compose.local.errors import NotInstalled
from projections.batch import Batch
from projections.intake import Intake
from projections.log_identity import LogMismatch
from projections.postgres.migrate import migrate
from projections.postgres.outbox import leading
from projections.postgres.pool import acquire, open_pool
from projections.postgres.progress import following
from projections.postgres.store import PostgresIndex, PostgresStore
from projections.projector import Fate, Outcome
from schemas.envelope import Draft
from schemas.topics import TOPICS
from streams.crew import Crew
from streams.producer import Producer, ProducerSettings
from streams.relay import relay
from streams.relay_log import kafka_log
from streams.topics import ensure, log_ends, partition_counts
from streams.worker import work
from tests import totals
from tests.builders import posted
from tests.e2e.system import read_log
from tests.totals import Totals

SECONDS_MAX = 60.0


@pytest.fixture(scope="module", params=["tansu", pytest.param("kafka", marks=pytest.mark.kafka)])
def own_stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A broker of either kind whose topics hold nothing but what these tests send."""
    folder = Path(tempfile.mkdtemp(prefix="streams-worker-"))
    with ExitStack() as ends:
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            stack = ends.enter_context(local_stack(folder, kafka=request.param == "kafka"))
        except NotInstalled as error:
            pytest.skip(str(error))
        ensure(stack.kafka, 6)
        yield stack


@dataclass
class Running:
    """A worker in this process."""

    stop: asyncio.Event
    task: asyncio.Task[None]
    applied: dict[Fate, int] = field(default_factory=lambda: dict.fromkeys(Fate, 0))


@dataclass
class World:
    """A database for one test, on the shared broker."""

    stack: Stack
    url: str
    pool: Any
    folder: Path
    parts: AsyncExitStack

    async def worker(self, name: str = "one") -> Running:
        counts = await partition_counts(self.stack.kafka)
        progress = await self.parts.enter_async_context(following(self.url))
        index = await PostgresIndex.open(self.pool, list(TOPICS))
        stop = asyncio.Event()
        fates: dict[Fate, int] = dict.fromkeys(Fate, 0)

        def applied(_name: str) -> Callable[[Sequence[Batch], Outcome], None]:
            def note(_batches: Sequence[Batch], outcome: Outcome) -> None:
                for fate, count in outcome.fates.items():
                    fates[fate] += count

            return note

        intake = Intake(index, counts, "bfc")
        store = PostgresStore(self.pool)
        crew = Crew([Totals()], [], store, intake, progress, applied, self.stack.kafka)
        task = asyncio.create_task(work(crew, self.folder / name, stop))
        return Running(stop, task, fates)

    async def send(self, drafts: Sequence[Draft]) -> None:
        async with Producer(ProducerSettings(self.stack.kafka)) as producer:
            await producer.send_many(drafts)

    async def fetch(self, sql: str) -> list[Any]:
        async with acquire(self.pool) as connection:
            return list(await connection.fetch(sql))

    async def caught_up(self, running: Running) -> None:
        """Wait until the totals projection stands at the end of its topic."""
        ends = await asyncio.to_thread(log_ends, self.stack.kafka)
        wanted = {number: end for (name, number), end in ends.items() if name == "bfc.ledger"}
        deadline = asyncio.get_running_loop().time() + SECONDS_MAX
        while True:
            if running.task.done():
                running.task.result()
            rows = await self.fetch("select partition, next_offset from checkpoints")
            reached = {row[0]: row[1] for row in rows}
            # The broker's own answer is a lower bound: see streams/ends.py.
            if all(reached.get(number, -1) >= end for number, end in wanted.items()):
                return
            assert asyncio.get_running_loop().time() < deadline, (reached, wanted)
            await asyncio.sleep(0.02)


@pytest.fixture
async def world(own_stack: Stack, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as parts:
        url = await parts.enter_async_context(_database(own_stack))
        pool = await parts.enter_async_context(open_pool(url))
        await migrate(pool)
        async with acquire(pool) as connection:
            await connection.execute(totals.DDL)
        yield World(own_stack, url, pool, tmp_path, parts)


@asynccontextmanager
async def _database(stack: Stack) -> AsyncIterator[str]:
    from uuid import uuid4

    import asyncpg

    name = f"test_{uuid4().hex}"
    connection = await asyncpg.connect(stack.postgres)
    await connection.execute(f"create database {name}")
    try:
        yield stack.postgres.rsplit("/", 1)[0] + f"/{name}"
    finally:
        await connection.execute(f"drop database {name} with (force)")
        await connection.close()


async def ended(running: Running) -> None:
    running.stop.set()
    await running.task


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

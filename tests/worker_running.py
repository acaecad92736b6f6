"""A worker in the test's own process, on a real broker and a database of its own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from compose.local import Stack, local_stack
from compose.local.errors import NotInstalled
from projections.batch import Batch
from projections.intake import Intake
from projections.postgres.index import PostgresIndex
from projections.postgres.migrate import migrate
from projections.postgres.pool import acquire, open_pool
from projections.postgres.progress import following
from projections.postgres.store import PostgresStore
from projections.projection import Projection
from projections.projector import Fate, Outcome
from projections.store import Store
from schemas.envelope import Draft
from schemas.topics import TOPICS
from streams.crew import Appender, Crew
from streams.producer import Producer, ProducerSettings
from streams.topics import ensure, log_ends, partition_counts
from streams.worker import work
from tests import totals
from tests.totals import Totals

#: The brokers that tests of workers run on.
BROKERS = ["tansu", pytest.param("kafka", marks=pytest.mark.kafka)]

SECONDS_MAX = 60.0


@contextmanager
def stack_of(broker: str) -> Iterator[Stack]:
    """A broker of either kind whose topics hold nothing but what these tests send."""
    folder = Path(tempfile.mkdtemp(prefix="streams-worker-"))
    with ExitStack() as ends:
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            stack = ends.enter_context(local_stack(folder, kafka=broker == "kafka"))
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

    async def worker(self, name: str = "one", projection: Projection | None = None) -> Running:
        new_crew, fates = await self.crews(projection=projection)
        stop = asyncio.Event()
        task = asyncio.create_task(work(new_crew(), self.folder / name, stop))
        return Running(stop, task, fates)

    async def crews(
        self,
        store: Store | None = None,
        appenders: Sequence[Appender] = (),
        projection: Projection | None = None,
    ) -> tuple[Callable[[], Crew], dict[Fate, int]]:
        """The way to make crews of the totals or of others, and the fates of their events."""
        counts = await partition_counts(self.stack.kafka)
        progress = await self.parts.enter_async_context(following(self.url))
        index = await PostgresIndex.open(self.pool, list(TOPICS))
        fates: dict[Fate, int] = dict.fromkeys(Fate, 0)

        def applied(_name: str) -> Callable[[Sequence[Batch], Outcome], None]:
            def note(_batches: Sequence[Batch], outcome: Outcome) -> None:
                for fate, count in outcome.fates.items():
                    fates[fate] += count

            return note

        intake = Intake(index, counts, "bfc")
        rows = store or PostgresStore(self.pool)
        folded = projection or Totals()
        kafka = self.stack.kafka
        return (
            lambda: Crew([folded], appenders, rows, intake, progress, applied, kafka),
            fates,
        )

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
            rows = await self.fetch(
                "select partition, next_offset from checkpoints where topic = 'bfc.ledger'"
            )
            reached = {row[0]: row[1] for row in rows}
            # The broker's own answer is a lower bound: see streams/ends.py.
            if all(reached.get(number, -1) >= end for number, end in wanted.items()):
                return
            assert asyncio.get_running_loop().time() < deadline, (reached, wanted)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def a_world(stack: Stack, folder: Path) -> AsyncIterator[World]:
    """A fresh database beside the broker."""
    async with AsyncExitStack() as parts:
        url = await parts.enter_async_context(_database(stack))
        pool = await parts.enter_async_context(open_pool(url))
        await migrate(pool)
        async with acquire(pool) as connection:
            await connection.execute(totals.DDL)
        yield World(stack, url, pool, folder, parts)


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

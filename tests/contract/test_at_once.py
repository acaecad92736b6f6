"""Two workers that ask PostgreSQL for the same thing at once, or one whose request comes late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from projections.batch import Partition
from projections.postgres import queries
from projections.postgres.migrate import migrate
from projections.postgres.pool import Pool, acquire, open_pool
from projections.postgres.store import PostgresIndex, PostgresStore
from schemas.envelope import Event
from schemas.topics import TOPICS
from tests.builders import events_of, posted

PLACE = Partition("bfc.ledger", 3)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with open_pool(database) as opened:
        await migrate(opened)
        yield opened


async def record(connection: Any, events: Sequence[Event], shift: int) -> None:
    """What another worker does in a transaction that goes on."""
    for event in events:
        await connection.execute(
            'insert into first_positions (key, topic, partition, "offset")'
            " select $1, no, $3, $4 from log_topics where name = $2",
            event.key,
            event.position.topic,
            event.position.partition,
            event.position.offset + shift,
        )


@pytest.mark.parametrize(("shift", "repeated"), [(0, set()), (1, {0, 1, 2})])
async def test_what_another_records_at_the_same_moment_is_seen(
    pool: Pool, database: str, shift: int, repeated: set[int]
) -> None:
    events = events_of([posted("1"), posted("2"), posted("3")])
    index = await PostgresIndex.open(pool, list(TOPICS))
    other = await asyncpg.connect(database)
    try:
        async with other.transaction():
            await record(other, events, shift)
            judging = asyncio.create_task(index.judge(events, ()))
            await until_somebody_waits(database)
        assert await judging == repeated
    finally:
        await other.close()


async def until_somebody_waits(database: str) -> None:
    watcher = await asyncpg.connect(database)
    try:
        waiting = (
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )
        while not await watcher.fetchval(waiting):
            continue
    finally:
        await watcher.close()


async def test_a_request_to_take_that_comes_late_takes_nothing(pool: Pool) -> None:
    store = PostgresStore(pool)
    seen = (await store.take("totals", [PLACE]))[PLACE].epoch
    owner = (await store.take("totals", [PLACE]))[PLACE]
    late = queries.load("projections.postgres", "handover.sql")["take"]
    async with acquire(pool) as connection:
        assert await connection.fetch(late, "totals", [PLACE.topic], [3], [seen]) == []
    assert await store.checkpoint("totals", PLACE) == owner
    assert (await store.take("totals", [PLACE]))[PLACE].epoch == owner.epoch + 1

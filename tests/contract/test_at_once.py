"""Two workers that ask PostgreSQL for the same thing at once, or one whose request comes late."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from projections.batch import Partition
from projections.postgres import queries
from projections.postgres.index import COPIED_MIN, PostgresIndex
from projections.postgres.pool import Pool, acquire
from projections.postgres.store import PostgresStore
from schemas.envelope import Event
from schemas.topics import TOPICS
from tests.builders import events_of, posted
from tests.judging import judged

PLACE = Partition("bfc.ledger", 3)


@pytest.mark.parametrize("count", [6, COPIED_MIN])
async def test_repetitions_among_new_ones_are_told_apart(pool: Pool, count: int) -> None:
    """As many as are copied, and fewer; by an index that goes on, and by one that begins."""
    drafts = [posted(f"{number}") for number in range(1, count + 1)]
    index = await PostgresIndex.open(pool, list(TOPICS))
    first = events_of(drafts)
    assert await judged(index, first) == set()
    assert await judged(index, first) == set()
    more = [*drafts[: count // 2], *(posted(f"{number}.50") for number in range(1, count + 1))]
    later = events_of([*more, more[-1]], start={first[0].position[:2]: count})
    wanted = {*range(count // 2), len(more)}
    for again in (index, await PostgresIndex.open(pool, list(TOPICS))):
        assert await judged(again, later) == wanted
    assert await pool.fetchval("select count(*) from first_positions") == 2 * count


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


@pytest.mark.parametrize("count", [3, COPIED_MIN])
@pytest.mark.parametrize("shift", [0, 1])
async def test_what_another_records_at_the_same_moment_is_seen(
    pool: Pool, database: str, shift: int, count: int
) -> None:
    events = events_of(posted(f"{number}") for number in range(1, count + 1))
    repeated = set(range(count)) if shift else set()
    index = await PostgresIndex.open(pool, list(TOPICS))
    other = await asyncpg.connect(database)
    try:
        async with other.transaction():
            await record(other, events, shift)
            judging = asyncio.create_task(judged(index, events))
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

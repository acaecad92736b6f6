"""Reads of several tables while tables are swapped."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from projections.postgres.pool import Pool, acquire, open_pool
from projections.postgres.reading import between_swaps, one_state
from projections.store import Unavailable
from tests import totals
from tests.totals import TOTALS

SECONDS_MAX = 30.0

INSERT = "insert into {}totals values ('usr_1', 'acc_1', {}, 1, '[]')"


async def test_who_comes_during_the_swap_sees_all_of_the_new_tables(database: str) -> None:
    """Also rows that were committed while the reader already waited."""
    swapping = await asyncpg.connect(database)
    filling = await asyncpg.connect(database)
    try:
        await swapping.execute(totals.DDL)
        await swapping.execute(INSERT.format("", 1))
        await swapping.execute("create schema rebuild_totals")
        await swapping.execute("create table rebuild_totals.totals (like public.totals)")
        async with open_pool(database) as pool:
            turn = swapping.transaction()
            await turn.start()
            await swapping.execute("lock table totals in access exclusive mode")
            reading = asyncio.create_task(read(pool))
            await waits_for_a_lock(filling)
            await filling.execute(INSERT.format("rebuild_totals.", 2))
            await swapping.execute("create schema old_totals")
            await swapping.execute("alter table public.totals set schema old_totals")
            await swapping.execute("alter table rebuild_totals.totals set schema public")
            await turn.commit()
            assert await asyncio.wait_for(reading, SECONDS_MAX) == (2, 1)
    finally:
        await swapping.close()
        await filling.close()


async def read(pool: Any) -> tuple[int, int]:
    async with acquire(pool) as connection, one_state(connection, [TOTALS]):
        total = await connection.fetchval("select sum(total) from totals")
        return int(total or 0), await connection.fetchval("select count(*) from totals")


async def waits_for_a_lock(connection: Any) -> None:
    sql = """
        select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'
    """
    async with asyncio.timeout(SECONDS_MAX):
        while not await connection.fetchval(sql):
            await connection.execute("select pg_sleep(0.01)")


async def test_what_was_read_during_an_exchange_is_read_again(pool: Pool) -> None:
    answers = ["mixed", "new"]

    async def find() -> str:
        if len(answers) == 2:
            await mark(pool, swapping=True)
        return answers.pop(0)

    async def pause(_: float) -> None:
        await mark(pool, swapping=False)

    assert await between_swaps(pool, "analytics", find, pause) == "new"


async def test_an_exchange_that_does_not_end_is_said(pool: Pool) -> None:
    await mark(pool, swapping=True)

    async def never() -> None:
        raise AssertionError("read between the marks")

    async def at_once(_: float) -> None:
        """Does not wait."""

    with pytest.raises(Unavailable, match="being swapped"):
        await between_swaps(pool, "analytics", never, at_once)


async def mark(pool: Any, *, swapping: bool) -> None:
    async with acquire(pool) as connection:
        await connection.execute(
            "insert into projections (name, version, swapping, swaps)"
            " values ('analytics', 1, $1, 1) on conflict (name) do update"
            " set swapping = $1, swaps = projections.swaps + $1::int",
            swapping,
        )

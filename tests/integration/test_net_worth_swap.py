"""Net worth read while a rebuild swaps its tables: all of the old ones or all of the new ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from projections.memory import apply_to
from projections.net_worth import tables, view
from projections.net_worth.projection import NetWorth
from projections.postgres.index import PostgresIndex
from projections.postgres.migrate import migrate
from projections.postgres.pool import acquire, open_pool
from projections.postgres.store import PostgresStore
from projections.projector import Projector
from schemas.topics import TOPICS
from tests.builders import events_of, opened, posted

SECONDS_MAX = 30.0
USER = "usr_17"
NAMES = [table.name for table in NetWorth.tables]
#: What a read of now looks into.
READ = (tables.ACCOUNTS, tables.BALANCES, tables.POSITIONS, tables.PRICES, tables.FIXINGS)


@asynccontextmanager
async def connected(database: str, count: int) -> AsyncIterator[list[Any]]:
    connections = [await asyncpg.connect(database) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.terminate()


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Any]:
    """Somebody with 10.00 in an account, and a connection for one reader."""
    async with open_pool(database, size_max=1) as opened_pool:
        await migrate(opened_pool)
        projector = Projector(NetWorth(), PostgresStore(opened_pool))
        index = await PostgresIndex.open(opened_pool, list(TOPICS))
        await apply_to(projector, events_of([opened(name="old"), posted("10")]), index)
        yield opened_pool


async def seen(pool: Any) -> tuple[str, str]:
    """The account's name, which one table has, and its money, which another one has."""
    async with acquire(pool) as connection:
        found = await view.net_worth(connection, USER)
    (account,) = found["accounts"]
    return account["name"], found["netWorth"]


async def somebody_waits(connection: Any) -> None:
    sql = "select count(*) from pg_locks where not granted"
    async with asyncio.timeout(SECONDS_MAX):
        while not await connection.fetchval(sql):
            await connection.execute("select pg_sleep(0.01)")


@pytest.mark.parametrize("known", [False, True], ids=["new statement", "known statement"])
async def test_who_comes_during_a_swap_reads_the_new_tables_alone(
    pool: Any, database: str, known: bool
) -> None:
    """As they are when the swap ends, also if the connection has a plan for the old ones."""
    for _ in range(10 if known else 0):
        assert await seen(pool) == ("old", "10.00")
    async with connected(database, 2) as (swapping, filling):
        await filling.execute("create schema beside")
        for name in NAMES:
            await filling.execute(f"create table beside.{name} (like {name} including all)")
            await filling.execute(f"insert into beside.{name} select * from {name}")
        await filling.execute("update beside.accounts set name = 'new'")
        async with swapping.transaction():
            await swapping.execute(f"lock table {NAMES[0]} in access exclusive mode")
            reading = asyncio.create_task(seen(pool))
            await somebody_waits(filling)
            await filling.execute("update beside.balances set amount = 30")
            await swapping.execute("create schema before")
            for name in NAMES:
                await swapping.execute(f"alter table public.{name} set schema before")
                await swapping.execute(f"alter table beside.{name} set schema public")
        assert await asyncio.wait_for(reading, SECONDS_MAX) == ("new", "30.00")


@pytest.mark.parametrize("known", [False, True], ids=["new statement", "known statement"])
@pytest.mark.parametrize("held", [table.name for table in READ[1:]])
async def test_a_swap_waits_for_who_has_begun_to_read(
    pool: Any, database: str, held: str, known: bool
) -> None:
    """Whichever of the tables a reader waits for, it has locked the one that a swap locks first."""
    for _ in range(10 if known else 0):
        await seen(pool)
    async with connected(database, 3) as (holding, swapping, looking):
        async with holding.transaction():
            await holding.execute(f"lock table {held} in access exclusive mode")
            reading = asyncio.create_task(seen(pool))
            await somebody_waits(looking)
            with pytest.raises(asyncpg.LockNotAvailableError):
                async with swapping.transaction():
                    await swapping.execute("set local lock_timeout = 100")
                    await swapping.execute(f"lock table {NAMES[0]} in access exclusive mode")
        assert await asyncio.wait_for(reading, SECONDS_MAX) == ("old", "10.00")

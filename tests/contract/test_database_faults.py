"""Errors of the databases by class, made by the databases themselves.

What a value is to blame for becomes a dead letter, and its neighbours are applied; what passes is
waited for, visibly; what somebody must mend ends the work, and no event pays for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from compose.local import Stack
from projections.batch import Batch, Partition
from projections.clickhouse import client as clickhouse
from projections.health import Health
from projections.postgres.pool import NotMigrated, Pool, acquire, open_pool
from projections.postgres.store import PostgresStore
from projections.projector import Fate, Outcome, Projector
from projections.store import Broken, RowsRefused, Unavailable
from tests import totals
from tests.builders import events_of, posted
from tests.totals import Totals

DATA = ["22003", "22P02", "22021", "23505", "23514", "23502", "44000", "54000", "P0001"]
PASSING = [
    *("08006", "40001", "40P01", "53100", "53200", "53300", "55P03", "55006", "57014", "57P01"),
    *("57P03", "58030", "72000", "XX000", "25006", "25P03"),
]
TO_BE_MENDED = ["42501", "42883", "42601", "0A000", "28000", "3D000", "21000"]

#: A rule of the server's own: while `mood` has a row for a user, writing theirs fails like that.
TRIGGER = """
create table mood (user_id text, code text);
create function moody() returns trigger language plpgsql as $$
declare found_code text;
begin
    select code into found_code from mood where user_id = new.user_id;
    if found_code is not null then
        raise exception 'the server is not in the mood' using errcode = found_code;
    end if;
    return new;
end $$;
create trigger moody before insert or update on totals
    for each row execute function moody();
"""

BAD = "usr_3"
USERS = [f"usr_{number}" for number in range(8)]


async def nothing() -> None:
    """For those who only wait."""


@dataclass
class World:
    url: str
    pool: Any
    health: Health = field(default_factory=Health)
    waits: int = 0

    async def run(self, sql: str, *args: Any) -> None:
        async with acquire(self.pool) as connection:
            await connection.execute(sql, *args)

    async def fetch(self, sql: str) -> list[Any]:
        async with acquire(self.pool) as connection:
            return list(await connection.fetch(sql))

    async def apply(self, at_third_wait: Callable[[], Awaitable[None]] = nothing) -> Outcome:
        """Fold one posting of each user, where the checkpoint stands."""

        async def sleep(_seconds: float) -> None:
            self.waits += 1
            assert [each.part for each in self.health.troubles] == ["totals"]
            if self.waits == 3:
                await at_third_wait()
            await asyncio.sleep(0)

        projector = Projector(Totals(), PostgresStore(self.pool), sleep, self.health.of("totals"))
        place = Partition("bfc.ledger", 0)
        await projector.take([place])
        start = projector.checkpoints[place].next_offset
        drafts = [posted("1", user=user) for user in USERS]
        events = events_of(drafts, partitions=1, start={tuple(place): start})
        batch = Batch(*place, start, start + len(events), events)
        return await projector.apply([batch])

    async def waits_for_a_lock(self) -> None:
        """Return once somebody's statement waits for a lock."""
        async with asyncio.timeout(30):
            while True:
                if await self.fetch(
                    "select from pg_stat_activity"
                    " where wait_event_type = 'Lock' and datname = current_database()"
                ):
                    return
                await asyncio.sleep(0.01)

    async def users(self) -> list[str]:
        rows = await self.fetch("select user_id from totals where entries = 1 order by 1")
        return [row[0] for row in rows]

    async def nothing_is_written(self) -> bool:
        (row,) = await self.fetch(
            "select (select count(*) from totals), (select count(*) from dead_letters),"
            " (select coalesce(max(next_offset), 0) from checkpoints)"
        )
        return tuple(row) == (0, 0, 0)


@pytest.fixture
async def world(database: str, pool: Pool) -> World:
    world = World(database, pool)
    await world.run(totals.DDL)
    await world.run(TRIGGER)
    return world


@pytest.mark.parametrize("code", DATA)
async def test_a_refused_value_costs_its_event_alone(world: World, code: str) -> None:
    await world.run("insert into mood values ($1, $2)", BAD, code)
    outcome = await world.apply()
    (letter,) = outcome.dead_letters
    assert letter.user_id == BAD
    assert "not in the mood" in letter.reason
    assert outcome.fates[Fate.APPLIED] == len(USERS) - 1
    assert await world.users() == sorted(set(USERS) - {BAD})
    assert world.health.retries == {}


@pytest.mark.parametrize("code", PASSING)
async def test_what_passes_is_waited_for_and_seen(world: World, code: str) -> None:
    await world.run("insert into mood values ($1, $2)", BAD, code)
    outcome = await world.apply(at_third_wait=lambda: world.run("delete from mood"))
    assert outcome.dead_letters == []
    assert await world.users() == USERS
    assert world.health.retries == {"totals": 3}
    assert world.health.troubles == []


@pytest.mark.parametrize("code", TO_BE_MENDED)
async def test_what_must_be_mended_ends_the_work_and_no_event_pays_for_it(
    world: World, code: str
) -> None:
    await world.run("insert into mood values ($1, $2)", BAD, code)
    with pytest.raises(Broken, match=f"not in the mood.*{code}"):
        await world.apply()
    assert await world.nothing_is_written()
    await world.run("delete from mood")
    await world.apply()
    assert await world.users() == USERS


async def test_a_missing_table_names_the_command_that_makes_it(world: World) -> None:
    await world.run("drop table totals")
    with pytest.raises(NotMigrated, match=r'relation "totals" does not exist.*streams migrate'):
        await world.apply()


async def test_a_right_that_is_missing_is_nobodys_event(world: World) -> None:
    await world.run("create role reader; grant reader to current_user")
    await world.run("grant select on all tables in schema public to reader")
    await world.run("grant insert, update on checkpoints to reader")
    name = world.url.rsplit("/", 1)[1]
    await world.run(f"alter database {name} set role = 'reader'")
    try:
        async with open_pool(world.url) as pool:
            with pytest.raises(Broken, match=r"permission denied for table \w+ \(42501\)"):
                await World(world.url, pool).apply()
    finally:
        await world.run(f"alter database {name} reset role")
        await world.run("drop owned by reader; drop role reader")
    assert await world.nothing_is_written()


async def test_a_table_altered_under_a_connection_that_knows_it_is_no_event_either(
    world: World,
) -> None:
    async with open_pool(world.url, size_max=1) as pool:
        other = World(world.url, pool)
        await other.apply()
        await world.run("alter table totals alter column entries type numeric")
        await world.run("alter table totals alter column entries type bigint")
        await world.run("alter table totals add column more integer")
        assert (await other.apply()).dead_letters == []
    (row,) = await world.fetch("select count(*), min(entries), max(entries) from totals")
    assert tuple(row) == (len(USERS), 2, 2)


async def test_a_database_that_became_read_only_is_waited_for(world: World) -> None:
    name = world.url.rsplit("/", 1)[1]
    writable = f"alter database {name} reset default_transaction_read_only"
    await world.run(f"alter database {name} set default_transaction_read_only = on")
    async with open_pool(world.url) as pool:
        other = World(world.url, pool)
        outcome = await other.apply(at_third_wait=lambda: world.run(writable))
    assert outcome.dead_letters == []
    assert other.health.retries["totals"] >= 3
    assert await world.users() == USERS


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
async def test_a_lock_that_is_held_too_long_is_waited_for(world: World, limit: str) -> None:
    name = world.url.rsplit("/", 1)[1]
    await world.run(f"alter database {name} set {limit} = '20ms'")
    async with acquire(world.pool) as holder, open_pool(world.url) as pool:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("lock table totals in access exclusive mode")
        other = World(world.url, pool)
        outcome = await other.apply(at_third_wait=transaction.rollback)
    assert other.health.retries == {"totals": 3}
    assert outcome.dead_letters == []
    assert await world.users() == USERS


async def test_the_loser_of_a_deadlock_tries_again(world: World) -> None:
    await world.apply()
    async with acquire(world.pool) as rival:
        transaction = rival.transaction()
        await transaction.start()
        await rival.execute("select from totals where user_id = $1 for update", USERS[-1])
        applying = asyncio.create_task(world.apply())
        await world.waits_for_a_lock()
        # It holds the first rows and waits for the last one: whoever of the two is told to give
        # way, the other one goes on.
        await rival.execute("set local deadlock_timeout = '60s'")
        await rival.execute("update totals set notes = notes where user_id = $1", USERS[0])
        await transaction.rollback()
        outcome = await applying
    assert outcome.dead_letters == []
    assert world.health.retries["totals"] >= 1
    (row,) = await world.fetch("select count(*), min(entries), max(entries) from totals")
    assert tuple(row) == (len(USERS), 2, 2)


async def test_a_backend_that_is_terminated_in_a_commit_is_asked_what_became_of_it(
    world: World,
) -> None:
    await world.apply()
    async with acquire(world.pool) as rival:
        transaction = rival.transaction()
        await transaction.start()
        await rival.execute("select from totals where user_id = $1 for update", USERS[-1])
        applying = asyncio.create_task(world.apply())
        await world.waits_for_a_lock()
        await world.run(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where wait_event_type = 'Lock' and datname = current_database()"
        )
        await transaction.rollback()
        outcome = await applying
    assert outcome.dead_letters == []
    assert world.health.retries["totals"] >= 1
    (row,) = await world.fetch("select count(*), min(entries), max(entries) from totals")
    assert tuple(row) == (len(USERS), 2, 2)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (469, RowsRefused),
        (53, RowsRefused),
        (349, RowsRefused),
        (60, Broken),
        (62, Broken),
        (497, Broken),
        (241, Unavailable),
        (242, Unavailable),
        (252, Unavailable),
        (159, Unavailable),
        (999, Unavailable),
    ],
)
async def test_codes_of_clickhouse(stack: Stack, code: int, kind: type[Exception]) -> None:
    async with clickhouse.open_client(stack.clickhouse) as client:
        with pytest.raises(kind, match="on purpose"):
            async with clickhouse.translated():
                await client.query(
                    f"select throwIf(1, 'on purpose', {code}::Int16)"
                    " settings allow_custom_error_code_in_throwif = 1"
                )


async def test_a_clickhouse_that_is_not_there_is_awaited() -> None:
    with pytest.raises(Unavailable, match="ClickHouse"):
        async with clickhouse.open_client("http://127.0.0.1:9"):
            raise AssertionError("nobody listens there")

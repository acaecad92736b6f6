"""The analytics projection and the funnels on the real databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from compose.local import Stack
from projections.analytics.appender import Analytics
from projections.analytics.tables import EVENTS, TABLES
from projections.batch import Move
from projections.clickhouse import migrate as migrating
from projections.clickhouse.client import open_client
from projections.clickhouse.migrate import Migration, MigrationChanged, migrate, migrations
from projections.clickhouse.store import ClickHouseStore
from projections.funnels.given import GIVEN
from projections.funnels.projection import FunnelDefinitions
from projections.funnels.view import definition, definitions, funnel
from projections.postgres.flushes import PostgresFlushLog
from projections.postgres.migrate import migrate as migrate_postgres
from projections.postgres.pool import acquire, open_pool
from projections.postgres.store import PostgresStore
from projections.projector import Projector
from projections.store import Unavailable
from schemas.envelope import Draft
from schemas.errors import Invalid
from schemas.position import Position
from tests import reference_funnel as reference
from tests.builders import T0, at, draft, posted, step, tick, trade
from tests.log import Log
from tests.reference_funnel import Fact

DAY = T0.date()


@dataclass
class World:
    kafka: Log
    client: Any
    pool: Any

    async def append(self, *drafts: Draft) -> None:
        """Put drafts into the log and let a new worker read it to the end."""
        self.kafka.append(drafts)
        worker = Analytics(
            ClickHouseStore(self.client), PostgresFlushLog(self.pool), self.kafka.reread
        )
        for place, start in (await worker.take(self.kafka.places())).items():
            await worker.append(self.kafka.batch(place, start))
        await worker.close()

    async def rows(self, sql: str) -> list[Any]:
        return list((await self.client.query(sql)).result_rows)


@pytest.fixture
async def world(stack: Stack, database: str, clickhouse_database: str) -> AsyncIterator[World]:
    async with (
        open_pool(database) as pool,
        open_client(f"{stack.clickhouse}/{clickhouse_database}") as client,
    ):
        await asyncio.gather(migrate(client), migrate(client), migrate_postgres(pool))
        yield World(Log(), client, pool)


async def test_two_migrate_at_once_and_again(world: World) -> None:
    assert await migrate(world.client) == []
    names = await world.rows("select name from migrations order by name")
    assert [row[0] for row in names] == [each.name for each in migrations()]


async def test_an_edited_migration_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = [Migration(each.name, each.sql + "\n-- edited") for each in migrations()]
    monkeypatch.setattr(migrating, "migrations", lambda: edited)
    with pytest.raises(MigrationChanged):
        await migrate(world.client)


async def test_the_tables_are_those_of_the_migrations(world: World) -> None:
    for table in TABLES:
        found = await world.rows(
            "select name, replaceAll(type, '\\n', '') from system.columns"
            f" where database = currentDatabase() and table = '{table.name}' and name != 'log'"
            " order by position"
        )
        assert [tuple(row) for row in found] == [tuple(column) for column in table.columns]


async def test_every_table_and_column_says_what_it_is(world: World) -> None:
    mute = "where database = currentDatabase() and comment = ''"
    assert await world.rows(f"select table, name from system.columns {mute}") == []
    assert await world.rows(f"select name from system.tables {mute}") == []


async def test_sums_are_exact_and_repetitions_count_once(world: World) -> None:
    amounts = ["0.000000000000000001", "12345678901234567890.5", "0.1", "0.2"]
    made = [posted(amount, user=f"usr_{n}") for n, amount in enumerate(amounts)]
    await world.append(*made, *made)
    total = await world.rows("select sum(amount), count() from transactions")
    assert total == [(Decimal("12345678901234567890.800000000000000001"), 4)]
    first = await world.rows("select countIf(is_first), count() from events")
    assert first == [(4, 8)]


async def test_ranges_of_the_log_are_found_exactly(world: World) -> None:
    people = [f"usr_{n}" for n in range(40)]
    await world.append(*[posted(user=user) for user in people], *[tick() for _ in range(9)])
    store, records = ClickHouseStore(world.client), world.kafka.records
    places = world.kafka.places()
    assert len({place.topic for place in places}) == 2 and len(places) > 4
    ranges = [Move(*place, 1, len(records[place]) - 1, 0) for place in places[1:]]
    wanted = {
        Position(*move.place, offset) for move in ranges for offset in range(move.start, move.end)
    }
    assert await store.present(EVENTS, ranges) == wanted
    assert await store.count(EVENTS, ranges) == len(wanted)
    assert await store.present(EVENTS, []) == set()

    ends = {place: len(records[place]) for place in places}
    assert await store.ahead(EVENTS, dict.fromkeys(places[1:], 1)) == {
        place: ends[place] for place in places[1:]
    }
    assert await store.ahead(EVENTS, ends) == {}


async def test_a_month_of_every_year_that_is_valid(world: World) -> None:
    times = ["1970-01-01T00:00:00.000Z", "2199-12-31T23:59:59.999Z", "2026-02-12T09:30:00.123Z"]
    await world.append(*(trade(time=time) for time in times))
    found = await world.rows("select toString(time) from trades order by time")
    assert [row[0][:19] for row in found] == [
        "1970-01-01 00:00:00",
        "2026-02-12 09:30:00",
        "2199-12-31 23:59:59",
    ]


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        async with open_client("http://127.0.0.1:9"):
            pass


def onboarding() -> list[Draft]:
    """Three people: one all the way by domain events, one by journey only, one half unnamed."""
    kyc = {"level": "full", "status": "submitted", "fields": {}}
    return [
        step("signup", session="s1", user=None, time=at(0), platform="ios"),
        step("verify_email", session="s1", user="usr_1", time=at(60)),
        draft("bfc.kyc.submitted", kyc, user="usr_1", time=at(120)),
        draft("bfc.kyc.approved", kyc | {"status": "approved"}, user="usr_1", time=at(300)),
        posted("10", direction="debit", user="usr_1", time=at(400)),
        posted("10", user="usr_1", time=at(600)),
        step("signup", session="s2", user="usr_2", time=at(0, days=1)),
        step("verify_email", session="s2", user="usr_2", time=at(30, days=1)),
        step("kyc_upload", session="s2", user="usr_2", time=at(90, days=1)),
        step("signup", session="s3", user=None, time=at(5)),
        step("verify_email", session="s3", user=None, time=at(10)),
        step("verify_email", session="s4", user=None, time=at(10)),
    ]


def facts_of(log: Log) -> list[Fact]:
    seen, facts = set(), []
    for event in log.events():
        if event.key not in seen:
            place = event.position
            facts.append(Fact(event.time_ms, *place, event.type, event.raw_data, event.user_id))
        seen.add(event.key)
    return facts


async def test_the_onboarding_funnel_from_the_log(world: World) -> None:
    made = onboarding()
    await world.append(*made, *made[::2])
    asked = GIVEN["onboarding"]
    answer = await funnel(world.client, asked, DAY, DAY + timedelta(days=1))
    assert [each["people"] for each in answer["steps"]] == [3, 3, 2, 1, 1]
    last = DAY + timedelta(days=1)
    assert answer == reference.funnel(asked.wire(), facts_of(world.kafka), DAY, last)
    by = await funnel(world.client, asked, DAY, last, breakdown="platform", interval="day")
    assert {group["value"]: group["people"] for group in by["groups"]} == {"web": 2, "ios": 1}
    assert [(day["day"], day["people"]) for day in by["days"]] == [
        (DAY.isoformat(), 2),
        (last.isoformat(), 1),
    ]


async def test_a_funnel_that_nobody_entered(world: World) -> None:
    answer = await funnel(world.client, GIVEN["trading"], DAY, DAY)
    assert answer["people"] == 0 and answer["conversion"] == 0.0
    assert [each["people"] for each in answer["steps"]] == [0, 0, 0, 0]
    assert answer["steps"][1]["medianSeconds"] is None


@pytest.mark.parametrize(
    ("from_", "to", "how"),
    [
        (DAY, DAY - timedelta(days=1), {}),
        (date(1900, 1, 1), DAY, {}),
        (DAY, DAY, {"interval": "hour"}),
        (DAY, DAY, {"breakdown": "properties."}),
        (DAY, DAY, {"breakdown": "nope"}),
    ],
)
async def test_questions_that_are_none(
    world: World, from_: date, to: date, how: dict[str, str]
) -> None:
    with pytest.raises(Invalid):
        await funnel(world.client, GIVEN["trading"], from_, to, **how)


async def test_definitions_come_and_go(world: World) -> None:
    def defined(name: str, user: str, order: str, seconds: float) -> Draft:
        inside = {"name": name, "order": order, "steps": [{"name": "a"}]}
        data = {"name": name, "definition": inside}
        return draft("app.funnel.defined", data, user=user, time=at(seconds))

    world.kafka.append(
        [
            defined("mine", "usr_1", "strict", 0),
            defined("mine", "usr_2", "unordered", 10),
            defined("onboarding", "usr_1", "ordered", 20),
            draft("app.funnel.removed", {"name": "transfer"}, user="usr_3", time=at(30)),
        ]
    )
    projector = Projector(FunnelDefinitions(), PostgresStore(world.pool))
    await projector.take(world.kafka.places())
    # Whichever partition is read last, the newest command counts.
    for place in reversed(world.kafka.places()):
        await projector.apply([world.kafka.batch(place)])
    async with acquire(world.pool) as connection:
        listed = {each.name: each for each in await definitions(connection)}
        assert sorted(listed) == ["auto_invest", "mine", "onboarding", "trading"]
        assert listed["mine"].order == "unordered"
        assert len(listed["onboarding"].steps) == 1
        assert await definition(connection, "transfer") is None
        assert await definition(connection, "trading") == GIVEN["trading"]

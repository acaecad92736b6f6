"""Funnels answered by ClickHouse against the plain-Python reading of the contract."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compose.local import Stack
from projections.analytics.append import AppendTable, Values
from projections.analytics.tables import EVENTS, JOURNEY_STEPS, SESSIONS
from projections.clickhouse.client import open_client
from projections.clickhouse.migrate import migrate
from projections.clickhouse.store import ClickHouseStore
from projections.funnels.definition import Definition
from projections.funnels.view import funnel
from tests import reference_funnel as reference
from tests.reference_funnel import JOURNEY, Fact

FIRST = date(2026, 1, 30)
DAYS = 4
PEOPLE = 300

ACTIONS = ["a", "b", "c", "d", "kyc_upload", "first_deposit"]
KYC = "bfc.kyc.submitted"
POSTED = "bfc.transaction.posted"


def facts_of(seed: int, people: int = PEOPLE) -> list[Fact]:
    """Histories with few actions at few moments, so that they collide in every way."""
    chance = random.Random(seed)
    facts = []
    for person in range(people):
        sessions = [f"s{person}_{number}" for number in range(3)]
        for _ in range(chance.randrange(1, 14)):
            facts.append(_fact(chance, f"u{person}", chance.choice(sessions), len(facts)))
    return facts


def _fact(chance: random.Random, user: str, session: str, offset: int) -> Fact:
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    moment = start + timedelta(
        days=chance.randrange(DAYS), seconds=chance.choice([0, 1, 2, 3, 5, 8, 86_399])
    )
    time = int(moment.timestamp()) * 1000 + chance.choice([0, 0, 0, 1, 999])
    kind = chance.random()
    if kind < 0.12:
        return Fact(time, "bfc.kyc", 1, offset, KYC, {"level": chance.choice("12")}, user)
    if kind < 0.3:
        data = {
            "direction": chance.choice(["credit", "debit"]),
            "status": chance.choice(["posted", "posted", "pending"]),
            "count": chance.choice([1, 2]),
            "inner": {"flag": chance.choice([True, False])},
        }
        return Fact(time, "bfc.ledger", 2, offset, POSTED, data, user)
    data = {
        "session": session,
        "action": chance.choice(ACTIONS[:4] * 2 + ACTIONS),
        "platform": chance.choice(["web", "ios"]),
        "properties": chance.choice([{}, {"plan": "pro"}, {"plan": "free", "seats": 3}]),
    }
    return Fact(time, "journeys", 0, offset, JOURNEY, data, chance.choice([user, user, None]))


def rows_of(facts: list[Fact]) -> dict[AppendTable, list[Values]]:
    """What the fold makes of such events (that it does is another test's matter)."""
    from msgspec.json import encode

    rows: dict[AppendTable, list[Values]] = {EVENTS: [], JOURNEY_STEPS: [], SESSIONS: []}
    for fact in facts:
        time = datetime.fromtimestamp(fact.time // 1000, UTC).replace(
            microsecond=fact.time % 1000 * 1000
        )
        place = (fact.topic, fact.partition, fact.offset)
        user = fact.user or ""
        for is_first in (True, False):
            # Repetitions at positions of their own: they must not count.
            again = (place[0], place[1] + 100 * (not is_first), place[2])
            named = ("i", "s", f"{fact.type}.v1", fact.type, is_first, "", user, "t")
            rows[EVENTS].append((*again, *named, time, time, "", "", encode(fact.data).decode()))
        if fact.type == JOURNEY:
            more = (fact.data["session"], fact.data["action"], "", fact.data["platform"])
            more += ("", "", "", encode(fact.data["properties"]).decode())
            rows[JOURNEY_STEPS].append((*place, time, fact.type, user, *more))
            if fact.user:
                rows[SESSIONS].append((fact.data["session"], (time, *place, user)))
        elif fact.type in reference.SAME and reference.SAME[fact.type][1](fact.data):
            action = reference.SAME[fact.type][0]
            blank = ("", "", "", "", "", "{}")
            rows[JOURNEY_STEPS].append((*place, time, fact.type, user, "", action, *blank))
    return rows


@dataclass
class World:
    facts: list[Fact]
    client: Any
    runner: asyncio.Runner

    def ask(self, definition: Definition, from_: date, to: date, **how: str) -> dict[str, Any]:
        return self.runner.run(funnel(self.client, definition, from_, to, **how))


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    facts = facts_of(1)
    with asyncio.Runner() as runner:
        opening = open_client(stack.clickhouse)
        admin = runner.run(opening.__aenter__())
        runner.run(admin.command("create database if not exists funnel_properties"))
        context = open_client(f"{stack.clickhouse}/funnel_properties")
        client = runner.run(context.__aenter__())
        runner.run(_load(client, facts))
        yield World(facts, client, runner)
        runner.run(admin.command("drop database funnel_properties"))
        runner.run(context.__aexit__(None, None, None))
        runner.run(opening.__aexit__(None, None, None))


async def _load(client: Any, facts: list[Fact]) -> None:
    await migrate(client)
    store = ClickHouseStore(client)
    for table, rows in rows_of(facts).items():
        # Several inserts, so that a person's events lie in several parts.
        for part in range(3):
            some = rows[part::3]
            await store.send(table, store.encode(table, some), f"{table.name}:{part}")


MATCHES = st.one_of(
    st.sampled_from(ACTIONS).map(lambda action: {"type": JOURNEY, "action": action}),
    st.sampled_from(
        [
            {"type": JOURNEY, "action": "a"},
            {"type": JOURNEY, "action": "b"},
            {"type": JOURNEY},
            {"type": JOURNEY, "platform": "ios"},
            {"type": JOURNEY, "action": "a", "properties": {"plan": "pro"}},
            {"type": JOURNEY, "properties": {"seats": 3}},
            {"type": KYC},
            {"type": KYC, "level": "1"},
            {"type": POSTED, "direction": "credit"},
            {"type": POSTED, "count": 2, "inner": {"flag": True}},
        ]
    ),
)


@st.composite
def definitions(draw: st.DrawFn, order: str) -> Definition:
    matches = draw(st.lists(MATCHES, min_size=1, max_size=5))
    exclusions = []
    if len(matches) > 1:
        for match in draw(st.lists(MATCHES, max_size=2)):
            first = draw(st.integers(1, len(matches) - 1))
            last = draw(st.integers(first + 1, len(matches)))
            exclusions.append({"match": match, "fromStep": first, "toStep": last})
    return Definition.model_validate(
        {
            "name": "drawn",
            "order": order,
            "windowSeconds": draw(st.sampled_from([1, 2, 3, 5, 86_400, 86_401, 10**6])),
            "steps": [{"name": f"n{k}", "match": match} for k, match in enumerate(matches)],
            "exclusions": exclusions,
        }
    )


@pytest.mark.parametrize("order", ["ordered", "strict", "unordered"])
def test_the_answer_is_the_reference(world: World, order: str) -> None:
    @settings(
        max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    @given(definitions(order), st.integers(0, DAYS - 1), st.integers(0, DAYS - 1))
    def check(definition: Definition, one: int, other: int) -> None:
        from_, to = (FIRST + timedelta(days=n) for n in sorted((one, other)))
        answer = world.ask(definition, from_, to, interval="day", breakdown="platform")
        wire = definition.wire()
        expected = reference.funnel(wire, world.facts, from_, to)
        assert {name: answer[name] for name in expected} == approximately(expected)

        chosen = reference.best_attempts(wire, world.facts, from_, to)
        days = {day["day"]: day for day in answer["days"]}
        assert sorted(days) == sorted({each.events[0].day.isoformat() for each in chosen})
        for day, found in days.items():
            own = [each for each in chosen if each.events[0].day.isoformat() == day]
            assert found == approximately({"day": day, **reference.figures(wire, own)})
        for group in answer["groups"]:
            own = [each for each in chosen if each.events[0].data.get("platform") == group["value"]]
            expected = reference.figures(wire, own)
            assert {name: group[name] for name in expected} == approximately(expected)

    check()


def approximately(value: Any) -> Any:
    """Averages of the same milliseconds may differ in the last bit of a float."""
    if isinstance(value, dict):
        return {name: approximately(member) for name, member in value.items()}
    if isinstance(value, list):
        return [approximately(member) for member in value]
    return pytest.approx(value, rel=1e-12, abs=0) if isinstance(value, float) else value

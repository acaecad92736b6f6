"""What the gateway answers, told again from the log by independent plain-Python readers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from schemas.codec import RawRecord
from tests import reference_funnel, reference_net_worth, reference_notifications
from tests.e2e.system import System, event_of
from tests.recomputed import facts_of
from tests.reference_net_worth import Logged

#: Folding the history is the fixture's, and a slow machine takes minutes for it.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def log(simulated: System) -> list[RawRecord]:
    return simulated.log_of_events()


@pytest.fixture(scope="module")
def logged(log: list[RawRecord]) -> list[Logged]:
    return [Logged(r.topic, r.partition, r.offset, event_of(r)) for r in log]


def richest(logged: list[Logged], count: int) -> list[str]:
    """The people with the most trades and postings of several currencies: the hardest to value."""
    seen: dict[str, set[str]] = {}
    for entry in logged:
        if entry.topic in ("bfc.ledger", "vyomo.ledger"):
            seen.setdefault(entry.event["userid"], set()).add(
                f"{entry.event['type']} {entry.event['data'].get('currency')}"
            )
    return sorted(seen, key=lambda user: (-len(seen[user]), user))[:count]


def test_net_worth_of_three_people_agrees_to_the_last_digit(
    simulated: System, logged: list[Logged]
) -> None:
    today = datetime.now(UTC).date()
    for user in richest(logged, 3):
        preferred = simulated.get("/api/notifications/preferences", user).get("baseCurrency")
        for currency in (None, "USD", "AUD"):
            for day in (None, today - timedelta(days=3), today - timedelta(days=33)):
                params = {"currency": currency, "asOf": day and day.isoformat()}
                given = {name: value for name, value in params.items() if value}
                told = simulated.get("/api/wealth/net-worth", user, **given)
                again = reference_net_worth.net_worth(
                    logged,
                    user,
                    currency=currency,
                    as_of=day and day.isoformat(),
                    preferred=preferred,
                    today=told["asOf"],
                )
                assert told == again


@pytest.mark.parametrize("name", ["onboarding", "trading", "transfer", "auto_invest"])
def test_funnels_agree(simulated: System, logged: list[Logged], name: str) -> None:
    to = datetime.now(UTC).date()
    start = to - timedelta(days=40)
    definition = simulated.get(f"/api/analytics/funnels/{name}", "ana", "analyst")
    told = simulated.get(
        f"/api/analytics/funnel/{name}", "ana", "analyst", **{"from": str(start), "to": str(to)}
    )
    again = reference_funnel.funnel(definition, facts_of(logged), start, to)
    assert told["people"] > 0
    assert told["people"] == again["people"]
    for mine, theirs in zip(told["steps"], again["steps"], strict=True):
        for field, value in theirs.items():
            assert mine[field] == (pytest.approx(value) if isinstance(value, float) else value), (
                field,
                mine,
                theirs,
            )


def test_notifications_agree(simulated: System, log: list[RawRecord]) -> None:
    entries = list(reference_notifications.entries_of(log))
    expected: dict[str, dict[str, Any]] = reference_notifications.notifications_of(entries)
    by_user: dict[str, set[str]] = {}
    users = {e["event"].get("userid") for e in entries} - {None}
    now = datetime.now(UTC)
    for user in sorted(users)[:8]:
        own = [e for e in entries if e["event"].get("userid") == user]
        by_user[user] = {
            key
            for key, shown in reference_notifications.notifications_of(own).items()
            if shown.get("deliverAt") is None
            or datetime.fromisoformat(str(shown["deliverAt"])) <= now
        }
    assert expected
    for user, wanted in by_user.items():
        assert set(all_ids(simulated, user)) == wanted


def all_ids(system: System, user: str) -> list[str]:
    ids: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 200, **({"cursor": cursor} if cursor else {})}
        page = system.get("/api/notifications", user, **params)
        ids += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            return ids


def test_the_days_of_the_test_are_the_days_of_the_log(logged: list[Logged]) -> None:
    days = {date.fromisoformat(entry.event["time"][:10]) for entry in logged}
    assert len(days) > 30

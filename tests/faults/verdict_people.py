"""What people are shown against the independent readers of the log under ``tests/``.

These share nothing with the product but the events, so that a mistake that the folds make in the
same way every time is found here.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from projections.amounts import shown
from projections.net_worth.view import net_worth
from projections.notifications.view import notifications
from projections.preferences.view import preferred_currency
from projections.rules.view import list_executions
from schemas.instants import END
from schemas.position import Position
from tests import reference_funnel, reference_net_worth, reference_notifications, reference_rules
from tests.faults.calling import Caller
from tests.faults.parts import Target
from tests.faults.told import Told, compared
from tests.recomputed import execution_item, facts_of, without_ids
from tests.reference_net_worth import Logged

#: People whose net worth is told again; each of them takes the whole feed of prices.
VALUED_MAX = 8

FUNNELS = ("onboarding", "trading", "transfer", "auto_invest")
FUNNEL_DAYS = 40
PAGE = 200


async def people_differences(told: Told, connection: Any) -> AsyncIterator[str]:
    """Line by line; ``connection`` is to PostgreSQL, in no transaction."""
    for find in (_notifications, _raised, _executions, _net_worths):
        async for line in find(told, connection):
            yield line


async def funnel_differences(told: Told, target: Target) -> AsyncIterator[str]:
    """The built-in funnels as the gateway answers them."""
    analyst = Caller(target, "usr_analyst", "analyst")
    facts = facts_of(_logged(told, "funnels"))
    to = datetime.now(UTC).date()
    start = to - timedelta(days=FUNNEL_DAYS)
    for name in FUNNELS:
        definition = (await analyst.insist("GET", f"/api/analytics/funnels/{name}")).json()
        path = f"/api/analytics/funnel/{name}?from={start}&to={to}"
        said = (await analyst.insist("GET", path)).json()
        again = reference_funnel.funnel(definition, facts, start, to)
        expected = dict(enumerate(again["steps"], 1))
        found = {
            number: {field: _like(step[field], value) for field, value in right.items()}
            for (number, right), step in zip(expected.items(), said["steps"], strict=True)
        }
        for line in compared(f"funnel {name} step", expected, found):
            yield line


def _like(found: Any, right: Any) -> Any:
    """The right number, if the one found differs in the last digits only."""
    if isinstance(right, float) and isinstance(found, float) and math.isclose(found, right):
        return right
    return found


def _kept(told: Told, projection: str) -> Iterator[Position]:
    """The positions that a projection has not refused."""
    fold = told.folds.get(projection)
    refused = {each.position for each in fold.store.dead_letters.values()} if fold else set()
    return (position for position in told.documents if position not in refused)


def _logged(told: Told, projection: str) -> list[Logged]:
    return [Logged(*at, told.documents[at]) for at in _kept(told, projection)]


def _entries(told: Told) -> list[dict[str, Any]]:
    return [
        {
            "topic": at.topic,
            "partition": at.partition,
            "offset": at.offset,
            "timestamp": told.records[at].timestamp,
            "event": told.documents[at],
        }
        for at in _kept(told, "notifications")
    ]


async def _notifications(told: Told, connection: Any) -> AsyncIterator[str]:
    """Every list of everybody, with what is held until later."""
    members = ("user", "category", "priority", "type", "count", "totals", "events", "readAt")
    expected = {
        name: {member: said[member] for member in members}
        for name, said in reference_notifications.notifications_of(_entries(told)).items()
        if "inApp" in said["channels"]
    }
    found = {}
    for user in _users(told):
        pages = _paged(
            lambda cursor, u=user: notifications(connection, u, limit=PAGE, cursor=cursor, now=END)
        )
        async for item in pages:
            read_at = item["readAt"] and datetime.fromisoformat(item["readAt"])
            found[item["id"]] = {
                **{member: item.get(member) for member in members},
                "user": user,
                "readAt": read_at,
            }
    for line in compared("shown notifications", expected, found):
        yield line


async def _raised(told: Told, connection: Any) -> AsyncIterator[str]:
    expected = reference_notifications.raised_of(_entries(told))
    found = {
        event.id: (event.data.notification, event.data.count)
        for event in told.events
        if event.type == "notification.raised"
    }
    for line in compared("raised notifications", expected, found):
        yield line


async def _executions(told: Told, connection: Any) -> AsyncIterator[str]:
    ingested = {event.position: event.ingested_at for event in told.events}
    log = [
        reference_rules.Entry(*at, ingested[at], told.documents[at]) for at in _kept(told, "rules")
    ]
    again = reference_rules.Reference(log, shown).executions
    expected = {(one["user"], one["rule"], one["event"]): execution_item(one) for one in again}
    found = {}
    for user in _users(told):
        pages = _paged(
            lambda cursor, u=user: list_executions(connection, u, limit=PAGE, cursor=cursor)
        )
        async for item in pages:
            found[user, item["ruleId"], item["event"]] = without_ids(item)
    for line in compared("executions", expected, found):
        yield line


async def _net_worths(told: Told, connection: Any) -> AsyncIterator[str]:
    logged = _logged(told, "net_worth")
    busy: dict[str, int] = {}
    for entry in logged:
        if entry.topic == "vyomo.ledger":
            user = entry.event["userid"]
            busy[user] = busy.get(user, 0) + 1
    for user in sorted(busy, key=lambda user: (-busy[user], user))[:VALUED_MAX]:
        preferred = await preferred_currency(connection, user)
        own = [
            entry
            for entry in logged
            if entry.event.get("userid") == user or entry.topic in ("market.prices", "market.fx")
        ]
        said = await net_worth(connection, user, preferred=preferred)
        again = reference_net_worth.net_worth(own, user, preferred=preferred, today=said["asOf"])
        for line in compared("net worth", {user: again}, {user: said}):
            yield line


def _users(told: Told) -> list[str]:
    return sorted({event.user_id for event in told.events if event.user_id})


async def _paged(page: Callable[[str | None], Any]) -> AsyncIterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        found = await page(cursor)
        for item in found["items"]:
            yield item
        cursor = found["next"]
        if cursor is None:
            return

"""Notifications in Postgres: the same rows as in memory, and what the views make of them."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from projections.memory import MemoryIndex, MemoryStore, apply_to, run
from projections.notifications.projection import Notifications
from projections.notifications.tables import TABLES
from projections.notifications.view import (
    notification,
    notifications,
    preferences,
    preferred_currency,
)
from projections.postgres import statements
from projections.postgres.pool import Pool, acquire
from projections.postgres.store import PostgresStore
from projections.projector import Projector
from projections.tables import Row, Table
from schemas.envelope import Draft, Event
from schemas.errors import Invalid
from tests.builders import T0, at, draft, events_of, posted
from tests.notification_logs import USERS, steps
from tests.property.test_notifications import shuffled, with_timers
from tests.reference_notifications import entries_of, notifications_of
from tests.unit.test_preferences import WHOLE

USER = "usr_17"
LATER = T0 + timedelta(days=30)


async def store(pool: Pool, batches: list[list[Event]], *, forgetful: bool = False) -> None:
    """Fold into Postgres; forgetful: as if another worker took over after each batch."""
    target, index = PostgresStore(pool), MemoryIndex()
    projector = Projector(Notifications(), target)
    for batch in batches:
        if forgetful:
            projector = Projector(Notifications(), target)
        await apply_to(projector, batch, index)


async def rows_of(pool: Pool, table: Table[Any]) -> list[Row]:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    async with acquire(pool) as connection:
        records = await connection.fetch(f"select {names} from {table.name}")
    return sorted((statements.row_of(table, each) for each in records), key=table.key_of)


async def show(pool: Pool, *drafts: Draft, user: str = USER, **asked: Any) -> dict[str, Any]:
    if drafts:
        await store(pool, [[event] for event in events_of(drafts)])
    async with acquire(pool) as connection:
        return await notifications(connection, user, **{"now": LATER, **asked})


@pytest.mark.parametrize("seed", range(6))
async def test_rows_equal_those_in_memory_and_lists_those_of_the_reference(
    pool: Pool, seed: int
) -> None:
    chance = random.Random(seed)
    log = await with_timers(steps(chance, 40), chance)
    events = log.events()
    memory: MemoryStore = await run(Notifications(), [[event] for event in events])
    await store(pool, shuffled(events, chance), forgetful=seed % 2 == 0)
    for table in TABLES:
        assert await rows_of(pool, table) == memory.table(table)
    async with acquire(pool) as connection:
        owed = await connection.fetch("select identity from outbox")
        assert {row["identity"] for row in owed} == {made.id for made in memory.derived}
        wanted = notifications_of(entries_of(log.records)).values()
        for user in USERS:
            for now in (T0, T0 + timedelta(hours=9), LATER):
                page = await notifications(connection, user, limit=200, now=now)
                _agrees(page, [said for said in wanted if said["user"] == user], now)


def _agrees(page: dict[str, Any], wanted: list[dict[str, Any]], now: datetime) -> None:
    visible = {
        said["id"]: said
        for said in wanted
        if "inApp" in said["channels"] and (said["deliverAt"] is None or said["deliverAt"] <= now)
    }
    assert {item["id"] for item in page["items"]} == visible.keys()
    for item in page["items"]:
        said = visible[item["id"]]
        for name in ("category", "priority", "type", "count", "totals", "events"):
            assert item[name] == said[name], name
        assert item["read"] == (said["readAt"] is not None)
        assert (item["readAt"] and datetime.fromisoformat(item["readAt"])) == said["readAt"]
    assert page["unread"] == sum(said["readAt"] is None for said in visible.values())


async def test_an_item_has_the_shape_that_outsiders_build_on(pool: Pool) -> None:
    made = posted("45000", "debit", merchant="Croma", id="evt-1", transaction="txn/1")
    page = await show(pool, made)
    (item,) = page["items"]
    assert page == {"items": [item], "next": None, "unread": 1}
    name = item.pop("id")
    assert item == {
        "category": "transaction",
        "priority": "low",
        "type": "bfc.transaction.posted",
        "title": "Money out",
        "message": "₹45,000.00 left acc_1 to Croma",
        "count": 1,
        "totals": [{"amount": "45000.00", "currency": "INR"}],
        "events": ["evt-1"],
        "openedAt": "2026-02-12T09:30:00.000Z",
        "updatedAt": "2026-02-12T09:30:00.000Z",
        "read": False,
        "readAt": None,
        "actions": [{"label": "View transaction", "href": "/transactions/txn%2F1"}],
    }
    async with acquire(pool) as connection:
        alone = await notification(connection, USER, name, now=LATER)
        assert alone == {"id": name, **item}
        assert await notification(connection, "usr_1", name, now=LATER) is None
        assert await notification(connection, USER, "nonsense", now=LATER) is None


async def test_pages_go_from_the_newest_on_without_repeating_or_missing(pool: Pool) -> None:
    drafts = [posted(time=at(10 * (number // 2)), user=USER) for number in range(9)]
    drafts += [draft("bfc.kyc.updated", _KYC, time=at(10 * n)) for n in range(5)]
    whole = await show(pool, *drafts, limit=200)
    opened = [item["openedAt"] for item in whole["items"]]
    assert opened == sorted(opened, reverse=True) and len(opened) == 10
    paged, cursor = [], None
    while True:
        page = await show(pool, limit=3, cursor=cursor)
        paged += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert paged == whole["items"]


async def test_a_made_up_cursor_is_invalid(pool: Pool) -> None:
    for cursor in ("nonsense", "", "🙂", "MS4y"):
        if cursor:
            with pytest.raises(Invalid):
                await show(pool, cursor=cursor)


async def test_lists_can_be_narrowed(pool: Pool) -> None:
    first = posted(time=at(0))
    page = await show(pool, first, draft("bfc.kyc.rejected", _KYC, time=at(20)))
    kyc, money = page["items"]
    assert (await show(pool, category="kyc"))["items"] == [kyc]
    assert (await show(pool, priority="low"))["items"] == [money]
    read = draft("app.notification.read", {"notification": kyc["id"], "count": 1}, time=at(30))
    page = await _after(pool, [read], unread=True)
    assert (page["items"], page["unread"]) == ([money], 1)
    page = await show(pool, unread=False)
    assert [item["id"] for item in page["items"]] == [kyc["id"]]
    assert page["items"][0]["readAt"] == "2026-02-12T09:30:30.000Z"


async def test_a_notification_that_grew_after_it_was_read_is_unread_again(pool: Pool) -> None:
    (item,) = (await show(pool, posted(time=at(0))))["items"]
    read = draft("app.notification.read", {"notification": item["id"], "count": 1})
    (item,) = (await _after(pool, [read]))["items"]
    assert item["read"]
    (item,) = (await _after(pool, [posted(time=at(1))], start={("bfc.ledger", 5): 1}))["items"]
    assert (item["read"], item["count"]) == (False, 2)


async def test_what_is_held_is_not_shown_before_its_time_nor_read_by_read_all(
    pool: Pool,
) -> None:
    quiet = {"quietHours": {"from": "09:00", "to": "10:00"}}
    said = draft("app.preferences.changed", {"preferences": quiet}, time=at(-60))
    end = at(30 * 60)
    page = await show(pool, said, posted(), now=end - timedelta(milliseconds=1))
    assert page == {"items": [], "next": None, "unread": 0}
    before = draft("app.notifications.read", {"effective": {"bfc.ledger:5": 1}}, time=at(60))
    page = await _after(pool, [before], start={("app.commands", 5): 1}, now=end)
    assert [item["read"] for item in page["items"]] == [False] and page["unread"] == 1
    after = draft("app.notifications.read", {"effective": {"bfc.ledger:5": 1}}, time=end)
    page = await _after(pool, [after], start={("app.commands", 5): 2}, now=end)
    assert [item["read"] for item in page["items"]] == [True] and page["unread"] == 0


async def test_preferences_are_shown_as_they_were_said(pool: Pool) -> None:
    async with acquire(pool) as connection:
        assert await preferences(connection, USER) == {
            "timezone": "UTC",
            "baseCurrency": None,
            "quietHours": None,
            "largeDebit": {},
            "categories": {},
        }
        assert await preferred_currency(connection, USER) is None
    partly = {**WHOLE, "categories": {"alert": {"enabled": False}}}
    for number, said in enumerate((partly, WHOLE)):
        made = draft("app.preferences.changed", {"preferences": said})
        await _after(pool, [made], start={("app.commands", 5): number})
        async with acquire(pool) as connection:
            shown = await preferences(connection, USER)
        if said is partly:
            assert shown["categories"]["alert"] == {
                "enabled": False,
                "delivery": "immediate",
                "minimumPriority": "low",
                "channels": ["inApp"],
            }
        else:
            assert shown == WHOLE
    async with acquire(pool) as connection:
        assert await preferred_currency(connection, USER) == "INR"


_KYC = {"level": "full", "status": "x", "fields": {}}


async def _after(
    pool: Pool,
    drafts: list[Draft],
    start: dict[tuple[str, int], int] | None = None,
    **asked: Any,
) -> dict[str, Any]:
    """The list after further events; ``start`` says where their partitions are."""
    events = events_of(drafts, start=start)
    target = PostgresStore(pool)
    for event in events:
        place = event.position
        async with acquire(pool) as connection:
            await connection.execute(
                "update checkpoints set next_offset = $3 where topic = $1 and partition = $2",
                *place,
            )
        await apply_to(Projector(Notifications(), target), [event], MemoryIndex())
    return await show(pool, **asked)

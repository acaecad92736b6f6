"""Drafts of what notifications are made from, and the fold over them in memory."""

from __future__ import annotations

from typing import Any

from projections.memory import MemoryStore, run
from projections.notifications.projection import Notifications
from projections.notifications.settings import NotificationSettings
from projections.notifications.tables import NOTIFICATIONS, Notification
from schemas.envelope import Draft
from tests.builders import at, draft, events_of


async def fold(*drafts: Draft, settings: NotificationSettings | None = None) -> MemoryStore:
    events = events_of(drafts)
    return await run(Notifications(settings), [[event] for event in events])


async def raised(
    *drafts: Draft, settings: NotificationSettings | None = None
) -> list[Notification]:
    """The notifications in the order in which they were opened."""
    store = await fold(*drafts, settings=settings)
    assert not store.dead_letters
    rows: list[Notification] = store.table(NOTIFICATIONS)
    return sorted(rows, key=lambda row: (row.topic, row.first_offset))


async def only(*drafts: Draft) -> Notification:
    (row,) = await raised(*drafts)
    return row


def transfer(kind: str = "completed", amount: str = "15000.00", **rest: Any) -> Draft:
    data = {"transfer": "tr_1", "fromAccount": "acc_1", "toAccount": "acc_2"}
    money = {"amount": amount, "currency": rest.pop("currency", "INR")}
    if "failure" in rest:
        data["failure"] = rest.pop("failure")
    return draft(f"bfc.transfer.{kind}", {**data, **money}, **rest)


def kyc(kind: str) -> Draft:
    return draft(f"bfc.kyc.{kind}", {"level": "full", "status": kind, "fields": {}})


def order(kind: str, **rest: Any) -> Draft:
    data = {"order": "o_1", "symbol": "AAPL", "side": "buy", "kind": "market", "account": "vy_1"}
    return draft(f"vyomo.order.{kind}", {**data, "quantity": "10"}, **rest)


def reported(quantity: str, **rest: Any) -> Draft:
    data = {"account": "vy_1", "symbol": "AAPL", "quantity": quantity, "currency": "USD"}
    return draft("vyomo.position.reported", data, **rest)


def alert(message: str = "Balance is low", rule: str = "rule_1", **rest: Any) -> Draft:
    data = {"action": "act_1", "execution": "exe_1", "rule": rule, "type": "notify"}
    more = {name: rest.pop(name) for name in ("priority", "event") if name in rest}
    return draft("action.requested", {**data, "message": message, **more}, **rest)


def preferring(effective: dict[str, int] | None = None, **preferences: Any) -> Draft:
    data = {"preferences": preferences, "effective": effective or {}}
    return draft("app.preferences.changed", data, time=at(days=-400))


def choosing(category: str, **choice: Any) -> Draft:
    return preferring(timezone="Asia/Kolkata", categories={category: choice})

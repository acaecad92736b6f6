"""Notifications recomputed from the log in plain Python, apart from the product's own fold.

It reads whole histories and searches them; it knows neither rows nor batches. It takes the log as
a list of entries `{"topic", "partition", "offset", "timestamp", "event"}`, where `event` is the
CloudEvent as JSON and `timestamp` the record's in milliseconds, in any order. All events must be
valid; what became a dead letter is left out by the caller.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

from schemas.currencies import MINOR_UNITS

_NAMESPACE = uuid.UUID("5f0c1b1e-6f0b-5e57-8f2f-3d6d5b6f7c11")

# type -> (category, priority); None: looked at more closely.
_RULES: dict[str, tuple[str, str] | None] = {
    "bfc.transfer.completed": ("transfer", "low"),
    "bfc.transfer.failed": ("transfer", "high"),
    "bfc.transaction.posted": None,
    "vyomo.trade.executed": ("trade", "medium"),
    "vyomo.order.rejected": ("trade", "high"),
    "vyomo.position.reported": None,
    "bfc.kyc.rejected": ("kyc", "critical"),
    "bfc.kyc.approved": ("kyc", "medium"),
    "bfc.kyc.submitted": ("kyc", "low"),
    "bfc.kyc.updated": ("kyc", "low"),
    "bfc.account.opened": ("account", "medium"),
    "bfc.account.closed": ("account", "medium"),
    "bfc.account.updated": ("account", "low"),
    "vyomo.account.opened": ("account", "medium"),
    "vyomo.account.closed": ("account", "medium"),
    "vyomo.account.updated": ("account", "low"),
    "action.requested": None,
}
_ORDER = ["low", "medium", "high", "critical"]
_SOURCES = {"bfc.ledger", "bfc.transfers", "bfc.kyc", "vyomo.orders", "vyomo.ledger", "actions"}


def notifications_of(log: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Notification id -> what the list must show of it (without texts), and who sees it when."""
    by_user: dict[str, list[dict[str, Any]]] = {}
    for entry in _first_of_each(log):
        if entry["topic"] in _SOURCES or entry["topic"] == "app.commands":
            by_user.setdefault(entry["event"]["userid"], []).append(entry)
    shown: dict[str, dict[str, Any]] = {}
    for entries in by_user.values():
        commands = [entry for entry in entries if entry["topic"] == "app.commands"]
        settings = [c for c in commands if _name(c["event"]) == "app.preferences.changed"]
        made: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for entry in entries:
            if entry["topic"] not in _SOURCES:
                continue
            preferences = _preferences(settings, entry)
            news = _news(entry, entries, preferences)
            if news is not None:
                _gather(made, entry, news, preferences)
        for notifications in made.values():
            for notification in notifications:
                notification["readAt"] = _read_at(commands, notification)
                shown[notification["id"]] = _shown(notification)
    return shown


def raised_of(log: Iterable[dict[str, Any]]) -> dict[str, tuple[str, int]]:
    """Id of each `notification.raised` -> (notification, count): each growth that was not held,
    and each hand-over of a held one that a timer of the log asked for."""
    entries = _first_of_each(log)
    raised: dict[str, tuple[str, int]] = {}
    for notification in notifications_of(entries).values():
        if notification["deliverAt"] is None:
            for count, cause in enumerate(notification["causes"], 1):
                raised[_id(*cause, "raised")] = (notification["id"], count)
    said: dict[str, int] = {}
    for entry in entries:
        event = entry["event"]
        if _name(event) != "app.timer.fired" or event["data"]["projection"] != "notifications":
            continue
        payload = event["data"]["payload"]
        key, count = payload["data"]["notification"], payload["data"]["count"]
        if count > said.get(key, 0):
            said[key] = count
            raised[payload["raised"]] = (key, count)
    return raised


def _first_of_each(log: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    ordered = sorted(log, key=lambda e: (e["topic"], e["partition"], e["offset"]))
    seen: set[tuple[str, str]] = set()
    kept = []
    for entry in ordered:
        identity = (entry["event"]["source"], entry["event"]["id"])
        if identity not in seen:
            seen.add(identity)
            kept.append(entry)
    return kept


def _news(
    entry: dict[str, Any], entries: list[dict[str, Any]], preferences: dict[str, Any]
) -> dict[str, Any] | None:
    event, data = entry["event"], entry["event"]["data"]
    kind = _name(event)
    if kind not in _RULES:
        return None
    rule = _RULES[kind]
    news: dict[str, Any] = {"type": kind, "listed": event["id"], "money": None}
    if kind == "bfc.transaction.posted":
        if data["status"] == "pending" or data.get("transfer") is not None:
            return None
        threshold = preferences.get("largeDebit", {}).get(data["currency"])
        large = (
            data["direction"] == "debit"
            and threshold is not None
            and Decimal(data["amount"]) >= Decimal(threshold)
        )
        rule = ("transaction", "high" if large else "low")
    elif kind == "vyomo.position.reported":
        if not _differs(entry, entries):
            return None
        rule = ("position", "high")
    elif kind == "action.requested":
        if data["type"] != "notify":
            return None
        rule = ("alert", data.get("priority") or "medium")
        news["listed"] = data.get("event") or event.get("causationid") or event["id"]
    assert rule is not None
    if rule[0] in ("transfer", "transaction"):
        news["money"] = (data["currency"], Decimal(data["amount"]))
    elif kind == "vyomo.trade.executed":
        with localcontext(prec=100):
            worth = Decimal(data["quantity"]) * Decimal(data["price"])
        news["money"] = (data["currency"], worth)
    return {**news, "category": rule[0], "priority": rule[1]}


def _differs(report: dict[str, Any], entries: list[dict[str, Any]]) -> bool:
    """Whether the trades before it in the log, until its time, add up to something else."""
    said = report["event"]["data"]
    moves = []
    for entry in entries:
        data = entry["event"]["data"]
        if (
            _name(entry["event"]) in ("vyomo.trade.executed", "vyomo.split.applied")
            and (data["account"], data["symbol"]) == (said["account"], said["symbol"])
            and entry["offset"] < report["offset"]
            and _time(entry["event"]) <= _time(report["event"])
        ):
            moves.append((_time(entry["event"]), entry["offset"], data))
    with localcontext(prec=100):
        quantity = Decimal(0)
        for _, _, data in sorted(moves, key=lambda move: move[:2]):
            if "numerator" in data:
                quantity = quantity * data["numerator"] / data["denominator"]
            else:
                sign = 1 if data["side"] == "buy" else -1
                quantity += sign * Decimal(data["quantity"])
        return abs(quantity - Decimal(said["quantity"])) >= Decimal("1e-18")


def _gather(
    made: dict[tuple[Any, ...], list[dict[str, Any]]],
    entry: dict[str, Any],
    news: dict[str, Any],
    preferences: dict[str, Any],
) -> None:
    event = entry["event"]
    choice = preferences.get("categories", {}).get(news["category"]) or {}
    least = choice.get("minimumPriority", "low")
    if choice.get("enabled", True) is False:
        return
    if _ORDER.index(news["priority"]) < _ORDER.index(least):
        return
    happened = _time(event)
    delivery = choice.get("delivery", "immediate")
    key: tuple[Any, ...]
    found: dict[str, Any] | None = None
    due: datetime | None = None
    if news["priority"] == "critical":
        key = ("single", event["source"], event["id"])
    elif delivery == "immediate":
        due = _quiet_until(happened, preferences)
        key = ("group", event["userid"], news["type"], news["priority"])
        for other in made.get(key, ()):  # in the order in which they were opened
            if timedelta() <= happened - other["first"] <= timedelta(seconds=5):
                found = other
                break
    else:
        start, end = _window(happened, delivery, preferences)
        due = _quiet_until(end, preferences) or end
        key = (delivery, event["userid"], news["category"], entry["topic"], start)
        found = next(iter(made.get(key, ())), None)
    if found is None:
        found = {
            "id": _id(event["source"], event["id"], "notification"),
            "user": event["userid"],
            "first": happened,
            "category": news["category"],
            "priority": news["priority"],
            "type": news["type"] if key[0] in ("single", "group") else f"digest.{key[0]}",
            "deliverAt": due,
            "channels": choice.get("channels", ["inApp"]),
            "members": [],
            "place": (entry["topic"], entry["partition"]),
        }
        made.setdefault(key, []).append(found)
    found["members"].append((entry, news))
    found["priority"] = max(found["priority"], news["priority"], key=_ORDER.index)


def _shown(notification: dict[str, Any]) -> dict[str, Any]:
    members = notification["members"]
    totals: dict[str, Decimal] = {}
    with localcontext(prec=100):
        for _, news in members:
            if news["money"]:
                currency, amount = news["money"]
                totals[currency] = totals.get(currency, Decimal(0)) + amount
    return {
        "id": notification["id"],
        "user": notification["user"],
        "category": notification["category"],
        "priority": notification["priority"],
        "type": notification["type"],
        "count": len(members),
        "totals": [
            {"amount": _rounded(amount, currency), "currency": currency}
            for currency, amount in sorted(totals.items())
        ],
        "events": [news["listed"] for _, news in members],
        "causes": [(entry["event"]["source"], entry["event"]["id"]) for entry, _ in members],
        "openedAt": notification["first"],
        "updatedAt": max(_time(entry["event"]) for entry, _ in members),
        "deliverAt": notification["deliverAt"],
        "channels": notification["channels"],
        "readAt": notification["readAt"],
    }


def _read_at(commands: list[dict[str, Any]], notification: dict[str, Any]) -> datetime | None:
    entries = [entry for entry, _ in notification["members"]]
    newest_offset = max(entry["offset"] for entry in entries)
    newest_stamp = max(entry["timestamp"] for entry in entries)
    topic, partition = notification["place"]
    times = []
    for command in commands:
        event, data = command["event"], command["event"]["data"]
        before = command["timestamp"] >= newest_stamp
        if _name(event) == "app.notification.read":
            seen = data.get("count")
            covers = before if seen is None else seen >= len(entries)
            if data["notification"] == notification["id"] and covers:
                times.append(_time(event))
        elif _name(event) == "app.notifications.read":
            upto = data.get("effective", {}).get(f"{topic}:{partition}")
            covers = before if upto is None else newest_offset < upto
            visible = notification["deliverAt"]
            if covers and (visible is None or visible <= _time(event)):
                times.append(_time(event))
    return min(times, default=None)


def _preferences(commands: list[dict[str, Any]], entry: dict[str, Any]) -> dict[str, Any]:
    in_force: dict[str, Any] = {}
    place = f"{entry['topic']}:{entry['partition']}"
    for command in commands:  # in the order of the commands
        event = command["event"]
        begin = event["data"].get("effective", {}).get(place, 0)
        if command["timestamp"] < entry["timestamp"] and entry["offset"] >= begin:
            in_force = event["data"]["preferences"]
    return in_force


def _quiet_until(moment: datetime, preferences: dict[str, Any]) -> datetime | None:
    quiet = preferences.get("quietHours")
    if not quiet or quiet["from"] == quiet["to"]:
        return None
    zone = _zone(preferences)
    begin, end = time.fromisoformat(quiet["from"]), time.fromisoformat(quiet["to"])
    local = moment.astimezone(zone)
    for days in (-1, 0):  # the quiet hours that began yesterday, and those of today
        first = local.date() + timedelta(days=days)
        last = first if begin < end else first + timedelta(days=1)
        wall = local.replace(tzinfo=None, fold=0)
        if datetime.combine(first, begin) <= wall < datetime.combine(last, end):
            ends = [
                datetime.combine(last, end, zone).replace(fold=fold).astimezone(UTC)
                for fold in (0, 1)
            ]
            return next((each for each in ends if each > moment), ends[1])
    return None


def _window(
    moment: datetime, delivery: str, preferences: dict[str, Any]
) -> tuple[datetime, datetime]:
    local = moment.astimezone(_zone(preferences))
    if delivery == "hourly":
        into = moment - timedelta(0)
        start = into - (
            local.replace(tzinfo=None)
            - local.replace(minute=0, second=0, microsecond=0, tzinfo=None)
        )
        return start, start + timedelta(hours=1)
    midnights = [
        datetime.combine(local.date() + timedelta(days=days), time(), local.tzinfo).astimezone(UTC)
        for days in (0, 1)
    ]
    return midnights[0], midnights[1]


def _zone(preferences: dict[str, Any]) -> ZoneInfo:
    return ZoneInfo(preferences.get("timezone") or "UTC")


def _rounded(amount: Decimal, currency: str) -> str:
    with localcontext(prec=100):
        step = Decimal(1).scaleb(-MINOR_UNITS[currency])
        return f"{amount.quantize(step, rounding=ROUND_HALF_EVEN):f}"


def _id(source: str, event_id: str, what: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"notifications\0{1}\0{source}\0{event_id}\0{what}"))


def _name(event: dict[str, Any]) -> str:
    name, _, version = event["type"].rpartition(".v")
    return name if version.isdigit() else str(event["type"])


def _time(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["time"]).astimezone(UTC)


def entries_of(records: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Entries of records in structured mode (`topic`, `partition`, `offset`, `timestamp`,
    `value`), such as a consumer brings."""
    import json

    for record in records:
        yield {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "event": json.loads(record.value),
        }

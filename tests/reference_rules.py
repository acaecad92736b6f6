"""What rules must do, computed a second time: plain Python over the log, rule by rule.

Nothing is shared with the projection but the events. It goes through all rules for each event and
finds the version in force by walking back from the newest, which is slow and obvious.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

DIGITS = Context(prec=120, rounding=ROUND_HALF_EVEN)
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?")
DECIMALS = {"JPY": 0, "KWD": 3}

Show = Callable[[Decimal, str], str]


class Entry(NamedTuple):
    """One record: where it stands, when it was appended, and the event as parsed JSON."""

    topic: str
    partition: int
    offset: int
    ingested_at: datetime
    event: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.event["type"]).rpartition(".v")[0]

    @property
    def time(self) -> datetime:
        return datetime.fromisoformat(self.event["time"]).astimezone(UTC)


class Version(NamedTuple):
    number: int
    definition: dict[str, Any] | None
    effective: dict[str, int]
    ingested_at: datetime


class Reference:
    """Folds a whole log; `executions` and `crossings` are what it found."""

    def __init__(self, log: Iterable[Entry], show: Show) -> None:
        self.show = show
        self.rules: dict[tuple[str, str], list[Version]] = {}
        self.zones: dict[str, list[Version]] = {}
        self.currencies: dict[tuple[str, str], str] = {}
        self.balances: dict[tuple[str, str, str], Decimal] = {}
        self.prices: dict[str, tuple[datetime, Decimal]] = {}
        self.fired: dict[tuple[str, str, str], list[datetime]] = {}
        self.executions: list[dict[str, Any]] = []
        self.crossings: list[dict[str, Any]] = []
        entries = sorted(log, key=lambda entry: (entry.topic != "app.commands", entry[:3]))
        for entry in first_of_each(entries):
            self.fold(entry)

    def fold(self, entry: Entry) -> None:
        match entry.type:
            case "app.rule.created" | "app.rule.changed" | "app.rule.deleted":
                self.command(entry)
            case "app.preferences.changed":
                zone = entry.event["data"]["preferences"].get("timezone") or "UTC"
                self.zones.setdefault(entry.event["userid"], []).append(
                    Version(0, {"zone": zone}, *begin(entry))
                )
            case "bfc.account.opened":
                self.opened(entry)
            case "bfc.transaction.posted":
                self.posted(entry)
            case "market.price.ticked":
                self.ticked(entry)
            case "rule.crossed":
                self.crossed(entry)

    def command(self, entry: Entry) -> None:
        data = entry.event["data"]
        versions = self.rules.setdefault((entry.event["userid"], data["rule"]), [])
        exists = bool(versions)
        deleted = exists and versions[-1].definition is None
        if (entry.type == "app.rule.created") == exists or deleted:
            return
        last = versions[-1].number if exists else 0
        number = max(data.get("version", 0), last + 1)
        versions.append(Version(number, data.get("definition"), *begin(entry)))

    def opened(self, entry: Entry) -> None:
        data, user = entry.event["data"], entry.event["userid"]
        if (user, data["account"]) not in self.currencies:
            self.currencies[user, data["account"]] = data["currency"]
            key = (user, data["account"], data["currency"])
            before = self.balances.get(key, Decimal(0))
            opening = Decimal(data.get("openingBalance") or 0)
            self.balances[key] = DIGITS.add(before, opening)

    def posted(self, entry: Entry) -> None:
        data, user = entry.event["data"], entry.event["userid"]
        known = self.currencies.get((user, data["account"]), data["currency"])
        if data["status"] != "posted" or known != data["currency"]:
            return
        key = (user, data["account"], data["currency"])
        before = self.balances.get(key, Decimal(0))
        amount = Decimal(data["amount"])
        after = DIGITS.add(
            before, amount if data["direction"] == "credit" else amount.copy_negate()
        )
        self.balances[key] = after
        for rule, version, definition in self.in_force(entry, user):
            trigger = definition["trigger"]
            if trigger["type"] == "transaction":
                met = fits(trigger, data)
            elif trigger["type"] == "balance":
                met = trigger["account"] == data["account"] and crosses(trigger, before, after)
            else:
                met = False
            if met and all(holds(one, data) for one in definition["conditions"]):
                self.execute(entry, (user, rule), version, definition, entry.event["id"], after)

    def ticked(self, entry: Entry) -> None:
        data = entry.event["data"]
        price = Decimal(data["price"])
        known = self.prices.get(data["symbol"])
        if known is not None and entry.time < known[0]:
            return
        self.prices[data["symbol"]] = (entry.time, price)
        if known is None:
            return
        for user, rule, version, definition in self.all_in_force(entry):
            trigger = definition["trigger"]
            if trigger["type"] == "market_condition" and trigger["symbol"] == data["symbol"]:
                met = crosses(trigger, known[1], price)
                if met and all(holds(one, data) for one in definition["conditions"]):
                    self.crossings.append(
                        {"user": user, "rule": rule, "version": version, "tick": entry.event["id"]}
                    )

    def crossed(self, entry: Entry) -> None:
        data, user = entry.event["data"], entry.event["userid"]
        versions = self.rules[user, data["rule"]]
        number = data["ruleVersion"]
        definition = next(one.definition for one in versions if one.number == number)
        assert definition is not None
        key = (user, data["rule"])
        self.execute(entry, key, number, definition, data["event"], None)

    def in_force(self, entry: Entry, user: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
        for owner, rule, version, definition in self.all_in_force(entry):
            if owner == user:
                yield rule, version, definition

    def all_in_force(self, entry: Entry) -> Iterator[tuple[str, str, int, dict[str, Any]]]:
        for (user, rule), versions in self.rules.items():
            version = newest(versions, entry)
            if version and version.definition and version.definition["status"] != "draft":
                yield user, rule, version.number, version.definition

    def execute(
        self,
        entry: Entry,
        key: tuple[str, str],
        version: int,
        definition: dict[str, Any],
        cause: str,
        balance: Decimal | None,
    ) -> None:
        reason = self.held_back(entry, key, definition)
        outcome = "skipped" if reason else "triggered"
        if outcome == "triggered":
            self.fired.setdefault((*key, entry.topic), []).append(entry.time)
            outcome = "pending" if definition["requiresApproval"] else outcome
        status = "requested" if outcome == "triggered" else outcome
        self.executions.append(
            {
                "user": key[0],
                "rule": key[1],
                "version": version,
                "event": cause,
                "time": entry.time,
                "outcome": outcome,
                "reason": reason,
                "actions": self.actions(entry, definition, status, balance),
            }
        )

    def held_back(
        self, entry: Entry, key: tuple[str, str], definition: dict[str, Any]
    ) -> str | None:
        expires = definition["expiresAt"]
        if expires and datetime.fromisoformat(expires) <= entry.time:
            return "expired"
        if definition["status"] == "paused":
            return "paused"
        fired = self.fired.get((*key, entry.topic), [])
        cooldown = timedelta(seconds=definition["cooldownSeconds"])
        if any(abs(entry.time - other) < cooldown for other in fired):
            return "cooldown"
        zone = definition["timezone"]
        if zone is None:
            chosen = newest(self.zones.get(key[0], []), entry)
            zone = chosen.definition["zone"] if chosen and chosen.definition else "UTC"
        day = entry.time.astimezone(ZoneInfo(zone)).date()
        today = [one for one in fired if one.astimezone(ZoneInfo(zone)).date() == day]
        limit = definition["maxExecutionsPerDay"]
        return "daily_limit" if limit is not None and len(today) >= limit else None

    def actions(
        self, entry: Entry, definition: dict[str, Any], status: str, balance: Decimal | None
    ) -> list[dict[str, Any]]:
        data = entry.event["data"]
        listed = []
        names = {"rule": definition["name"]}
        if "amount" in data:
            names["amount"] = self.show(Decimal(data["amount"]), data["currency"])
            if balance is not None:
                names["balance"] = self.show(balance, data["currency"])
        for action in definition["actions"]:
            made = {name: value for name, value in action.items() if name != "amount"}
            made["status"] = status
            if action["type"] in ("transfer", "invest"):
                made.setdefault("from", data.get("account"))
                amount = amount_of(action, data)
                if amount is None or made["from"] == made.get("to"):
                    made["status"] = "skipped"
                if amount is not None:
                    made["amount"] = amount
            if action["type"] == "close_position":
                made.setdefault("percentage", "100")
            listed.append(made)
        for made in listed:
            if "amount" in made:
                names["amount"] = self.show(
                    Decimal(made["amount"]["amount"]), made["amount"]["currency"]
                )
                break
        for made in listed:
            if made["type"] == "notify":
                made["message"] = filled(made["message"], names, data)
        return listed


def first_of_each(entries: Iterable[Entry]) -> Iterator[Entry]:
    seen = set()
    for entry in entries:
        key = (entry.event["source"], entry.event["id"])
        if key not in seen:
            seen.add(key)
            yield entry


def begin(entry: Entry) -> tuple[dict[str, int], datetime]:
    return entry.event["data"].get("effective", {}), entry.ingested_at


def newest(versions: list[Version], entry: Entry) -> Version | None:
    place = f"{entry.topic}:{entry.partition}"
    for version in reversed(versions):
        appended_before = version.ingested_at < entry.ingested_at
        if appended_before and entry.offset >= version.effective.get(place, 0):
            return version
    return None


def crosses(trigger: dict[str, Any], before: Decimal, after: Decimal) -> bool:
    if "below" in trigger:
        line = Decimal(trigger["below"])
        return not before < line and after < line
    line = Decimal(trigger["above"])
    return not before > line and after > line


def fits(trigger: dict[str, Any], data: dict[str, Any]) -> bool:
    for name in ("account", "direction", "category", "merchant", "currency"):
        if name in trigger and trigger[name] != data.get(name):
            return False
    amount = Decimal(data["amount"])
    low, high = trigger.get("minAmount", data["amount"]), trigger.get("maxAmount", data["amount"])
    return Decimal(low) <= amount <= Decimal(high)


def holds(condition: dict[str, Any], data: dict[str, Any]) -> bool:
    found: Any = data
    for name in condition["field"].split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if found is None:
        return False
    op, wanted = condition["op"], condition["value"]
    if op == "in":
        return any(same(found, one) for one in wanted)
    if op == "contains":
        if isinstance(found, str):
            return isinstance(wanted, str) and wanted in found
        return isinstance(found, list) and any(same(one, wanted) for one in found)
    if op in ("eq", "ne"):
        return same(found, wanted) == (op == "eq")
    left, right = comparable(found), comparable(wanted)
    if left is None or right is None or type(left) is not type(right):
        return False
    return {
        "gt": left > right,
        "gte": left >= right,
        "lt": left < right,
        "lte": left <= right,
    }[op]


def same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    a, b = comparable(left), comparable(right)
    return a is not None and type(a) is type(b) and a == b


def comparable(value: Any) -> Any:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, str):
        return Decimal(value) if NUMBER.fullmatch(value) else value
    return None


def amount_of(action: dict[str, Any], data: dict[str, Any]) -> dict[str, str] | None:
    if "amount" in action:
        exact, currency = Decimal(action["amount"]["amount"]), action["amount"]["currency"]
    else:
        share = DIGITS.multiply(Decimal(data["amount"]), Decimal(action["percentage"]))
        exact, currency = DIGITS.divide(share, Decimal(100)), data["currency"]
    unit = Decimal(1).scaleb(-DECIMALS.get(currency, 2))
    rounded = exact.quantize(unit, context=DIGITS)
    return {"amount": f"{rounded:f}", "currency": currency} if rounded else None


def filled(message: str, names: dict[str, str], data: dict[str, Any]) -> str:
    for name, value in {**data, **names}.items():
        if isinstance(value, str):
            message = message.replace("{" + name + "}", value)
    return message

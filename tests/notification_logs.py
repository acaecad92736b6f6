"""Random logs of what notifications are made from: a seeded generator and a builder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from schemas.codec import RawRecord, Unreadable, decode_batch
from schemas.envelope import Draft, Event, key_of, topic_of
from schemas.instants import milliseconds
from schemas.topics import partition_of
from tests.builders import T0, draft, record_of

PARTITIONS = 2
USERS = ("usr_1", "usr_2", "usr_3")
TOPICS = (
    "app.commands",
    "bfc.ledger",
    "bfc.transfers",
    "bfc.kyc",
    "vyomo.orders",
    "vyomo.ledger",
    "actions",
)


@dataclass
class Log:
    """A log that grows: records in the order of appending.

    ``gap`` says how many milliseconds lie between two of them, ``between`` is called when a
    command has asked for the ends and is about to be appended.
    """

    records: list[RawRecord] = field(default_factory=list)
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    gap: Callable[[], int] = lambda: 1000
    between: Callable[[], None] = lambda: None
    clock: datetime = T0 + timedelta(hours=4)

    def append(self, made: Draft) -> RawRecord:
        partition = partition_of(key_of(made), PARTITIONS)
        place = (topic_of(made).name, partition)
        offset = self.ends.get(place, 0)
        self.ends[place] = offset + 1
        self.clock += timedelta(milliseconds=self.gap())
        record = record_of(made, offset, partition=partition, ingested=self.clock)
        self.records.append(record)
        return record

    def effective(self, user: str, leave_out: Sequence[str] = ()) -> dict[str, int]:
        """What a gateway writes into a command: the ends of the person's partitions."""
        partition = partition_of(user.encode(), PARTITIONS)
        return {
            f"{topic}:{partition}": self.ends.get((topic, partition), 0)
            for topic in TOPICS[1:]
            if topic not in leave_out
        }

    def events(self) -> list[Event]:
        topics = dict.fromkeys(TOPICS, PARTITIONS)
        decoded = decode_batch(self.records, partitions=topics)
        events = []
        for one in decoded:
            assert not isinstance(one, Unreadable), one.reason
            events.append(one)
        return events


def steps(chance: Random, size: int) -> list[dict[str, Any]]:
    """What happens, in the order of appending.

    Each log has only some kinds of events, so that they meet often.
    """
    kinds = [kind for kinds in chance.sample(_WHAT, chance.randint(1, 3)) for kind in kinds * 3]
    kinds += ["preferences", "read_all", "again"]
    spread = chance.choice([0, 0.05, 0.4])
    begin = [_step(chance, "preferences", spread) for _ in range(chance.randint(0, 3))]
    return begin + [_step(chance, chance.choice(kinds), spread) for _ in range(size)]


def build(log: Log, step: Mapping[str, Any], number: int) -> None:
    """Append what a step says; some steps say something again that was said before."""
    if step["what"] == "again":
        sources = [r for r in log.records if r.topic != "app.commands"]
        if sources:
            _repeat(log, sources[step["pick"] % len(sources)])
        return
    made = _draft(log, step, number)
    if topic_of(made).name == "app.commands":
        log.between()
    log.append(made)


def hurried(log: Log, history: Sequence[Mapping[str, Any]], chance: Random) -> Log:
    """The log, in which others append while a command is on its way, some in one millisecond."""
    sources = [step for step in history if step["what"] not in ("preferences", "read_all")]

    def between() -> None:
        for _ in range(chance.choice([0, 1, 3]) if sources else 0):
            build(log, chance.choice(sources), 1_000_000 + len(log.records))

    log.between = between
    log.gap = lambda: chance.choice([0, 0, 1, 1000])
    return log


def _repeat(log: Log, record: RawRecord) -> None:
    place = (record.topic, record.partition)
    offset = log.ends[place]
    log.ends[place] = offset + 1
    log.clock += timedelta(milliseconds=log.gap())
    log.records.append(record._replace(offset=offset, timestamp=milliseconds(log.clock)))


def _draft(log: Log, step: Mapping[str, Any], number: int) -> Draft:
    time: datetime = T0 + timedelta(milliseconds=step["ms"])
    common = {"user": step["user"], "time": time, "id": f"e-{number}"}
    amount, currency = step["amount"], step["currency"]
    match step["what"]:
        case "transaction":
            return draft(
                "bfc.transaction.posted",
                {
                    "transaction": f"txn-{number}",
                    "account": "acc_1",
                    "direction": step["side"],
                    "amount": amount,
                    "currency": currency,
                    "status": "pending" if step["pick"] == 0 else "posted",
                    **({"transfer": "tr-1"} if step["pick"] == 1 else {}),
                },
                **common,
            )
        case "transfer":
            kind = ("initiated", "completed", "failed")[step["pick"] % 3]
            return draft(
                f"bfc.transfer.{kind}",
                {
                    "transfer": f"tr-{number}",
                    "fromAccount": "acc_1",
                    "toAccount": "acc_2",
                    "amount": amount,
                    "currency": currency,
                },
                **common,
            )
        case "kyc":
            kind = ("submitted", "approved", "rejected", "updated")[step["pick"] % 4]
            data = {"level": "full", "status": kind, "fields": {}}
            return draft(f"bfc.kyc.{kind}", data, **common)
        case "account":
            platform = ("bfc", "vyomo")[step["pick"] % 2]
            kind = ("updated", "closed")[step["pick"] // 2 % 2]
            extra = {"changes": {"name": "x"}} if kind == "updated" else {}
            return draft(f"{platform}.account.{kind}", {"account": "acc_1", **extra}, **common)
        case "order":
            kind = ("placed", "rejected")[step["pick"] % 2]
            data = {
                "order": f"o-{number}",
                "symbol": "AAPL",
                "side": "buy",
                "kind": "market",
                "quantity": "1",
                "account": "vy_1",
            }
            return draft(f"vyomo.order.{kind}", data, **common)
        case "trade":
            data = {
                "trade": f"t-{number}",
                "account": "vy_1",
                "symbol": "AAPL",
                "instrument": "equity",
                "side": "buy" if step["side"] == "credit" else "sell",
                "quantity": str(step["pick"] + 1),
                "price": amount,
                "currency": currency,
            }
            return draft("vyomo.trade.executed", data, **common)
        case "split":
            data = {
                "account": "vy_1",
                "symbol": "AAPL",
                "numerator": 1 + step["pick"] % 3,
                "denominator": 1 + step["pick"] % 2 * 2,
            }
            return draft("vyomo.split.applied", data, **common)
        case "report":
            data = {
                "account": "vy_1",
                "symbol": "AAPL",
                "quantity": str(step["pick"]),
                "currency": currency,
            }
            return draft("vyomo.position.reported", data, **common)
        case "alert":
            data = {
                "action": f"a-{number}",
                "execution": f"x-{number}",
                "rule": "rule_1",
                "type": "notify",
                "message": f"Alert {number}",
                "event": f"cause-{number}",
                "priority": ("low", "medium", "high", "critical")[step["pick"] % 4],
            }
            return draft("action.requested", data, **common)
        case "read_all":
            data = {"effective": _effective(log, step)}
            return draft("app.notifications.read", data, **common)
    data = {"preferences": step["preferences"], "effective": _effective(log, step)}
    return draft("app.preferences.changed", data, **common)


def _effective(log: Log, step: Mapping[str, Any]) -> dict[str, int]:
    left_out = TOPICS if step["pick"] == 0 else TOPICS[1:3] if step["pick"] == 1 else ()
    return log.effective(step["user"], left_out)


_WHAT = [
    ["transaction"],
    ["transfer"],
    ["alert"],
    ["kyc"],
    ["account"],
    ["order", "trade"],
    ["trade", "trade", "split", "report"],
]
_CATEGORIES = ["transaction", "transfer", "trade", "kyc", "account", "alert"]
_HOURS = [-38, -25, -14, -5, 0, 1, 5, 6]


def _step(chance: Random, what: str, spread: float) -> dict[str, Any]:
    near = chance.choice([0, 2_500, 4_999, 5_000, 5_001, -1, -5_000, chance.randint(-9000, 9000)])
    far = chance.choice(_HOURS) * 3_600_000 if chance.random() < spread else 0
    return {
        "what": what,
        "user": chance.choice([USERS[0]] * 6 + [*USERS]),
        "ms": near + far,
        "amount": chance.choice(["100", "99.99", "0.005", "45000.00", "1234.125"]),
        "currency": chance.choice(["INR", "JPY", "USD"]),
        "side": chance.choice(["debit", "credit"]),
        "pick": chance.randint(0, 5),
        "preferences": _preferences(chance) if what == "preferences" else {},
    }


def _preferences(chance: Random) -> dict[str, Any]:
    quiet = [("22:00", "07:00"), ("14:59", "16:30"), ("08:00", "10:15")]
    begin, end = chance.choice(quiet)
    whole = {
        "timezone": chance.choice(["Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"]),
        "quietHours": {"from": begin, "to": end} if chance.random() < 0.5 else None,
        "largeDebit": chance.choice([{}, {"INR": "100"}, {"INR": "0.01", "JPY": "1000"}]),
        "categories": {
            category: _choice(chance)
            for category in chance.sample(_CATEGORIES, chance.randint(2, 6))
        },
    }
    return {name: value for name, value in whole.items() if chance.random() < 0.8}


def _choice(chance: Random) -> dict[str, Any]:
    whole = {
        "enabled": chance.random() < 0.9,
        "delivery": chance.choice(["immediate", "hourly", "daily"]),
        "minimumPriority": chance.choice(["low", "low", "low", "medium", "high", "critical"]),
        "channels": chance.choice([["inApp"], ["email"], ["inApp", "push"]]),
    }
    return {name: value for name, value in whole.items() if chance.random() < 0.8}

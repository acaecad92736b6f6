"""Valid events that a projection, or its database, can't apply after what came before them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from schemas.envelope import Draft
from tests.builders import draft, opened, posted, trade
from tests.corpus.kind import Refusal

NET_WORTH, NOTIFICATIONS, RULES, FUNNELS = "net_worth", "notifications", "rules", "funnels"
ANALYTICS = "analytics"


def refusals() -> Iterator[Refusal]:
    """Those that a fold refuses; each is of a person of its own."""
    yield from _accounts()
    yield from _commands()
    yield from _funnels()
    yield from _derived()


def database_refusals() -> Iterator[Refusal]:
    """Those whose rows a database does not take, or whose derived event would not be valid."""
    # Letters that can't be compressed: PostgreSQL's index takes 2,704 bytes of a key.
    letters = random.Random(1).choices([chr(n) for n in range(0x4E00, 0x9FA5)], k=4_000)
    long = "".join(letters)
    user = "usr_database"
    yield Refusal(
        "an account's name longer than an index takes",
        [],
        posted(account=long, user=user),
        "",
        frozenset({NET_WORTH, RULES}),
    )
    yield Refusal(
        "a symbol longer than an index takes",
        [],
        trade(symbol=long, user=user),
        "",
        frozenset({NET_WORTH, NOTIFICATIONS}),
    )
    yield Refusal(
        "a day that ClickHouse does not have",
        [],
        posted(valueDate="0001-01-01", user=user),
        "data.valueDate",
        frozenset({ANALYTICS}),
    )
    yield Refusal(
        "the last day that ISO 8601 can write",
        [],
        posted(valueDate="9999-12-31", user=user),
        "data.valueDate",
        frozenset({ANALYTICS}),
    )


def _refusal(name: str, before: list[Draft], bad: Draft, path: str, *by: str) -> Refusal:
    return Refusal(name, before, bad, path, frozenset(by))


def _accounts() -> Iterator[Refusal]:
    user = "usr_accounts"
    inr = opened("acc_inr", user=user)
    both = (NET_WORTH, RULES)
    yield _refusal(
        "a posting in another currency than its account's",
        [inr],
        posted(account="acc_inr", currency="USD", user=user),
        "data.currency",
        *both,
    )
    yield _refusal(
        "a pending posting in another currency",
        [],
        posted(account="acc_inr", currency="USD", status="pending", user=user),
        "data.currency",
        NET_WORTH,
    )
    yield _refusal(
        "an account opened twice", [], opened("acc_inr", user=user), "data.account", *both
    )
    yield _refusal(
        "an account opened again in another currency",
        [],
        opened("acc_inr", "USD", user=user),
        "data.account",
        *both,
    )
    for name, changes, path in (
        ("another currency", {"currency": "USD"}, "data.changes.currency"),
        ("a currency that is a number", {"currency": 356}, "data.changes.currency"),
        ("a kind that is a number", {"kind": 1}, "data.changes.kind"),
        ("a kind that there is not", {"kind": "piggy_bank"}, "data.changes.kind"),
        ("the other platform's kind", {"kind": "trading"}, "data.changes.kind"),
        ("a name that is a number", {"name": 1}, "data.changes.name"),
        ("a name that is null", {"name": None}, "data.changes.name"),
        ("an institution that is a list", {"institution": []}, "data.changes.institution"),
        ("holds cash as text", {"holdsCash": "yes"}, "data.changes.holdsCash"),
    ):
        yield _refusal(
            f"an account updated with {name}",
            [],
            draft("bfc.account.updated", {"account": "acc_inr", "changes": changes}, user=user),
            path,
            NET_WORTH,
        )
    yield _refusal(
        "an account updated with a currency before it is opened",
        [],
        draft(
            "bfc.account.updated",
            {"account": "acc_late", "changes": {"currency": "INR"}},
            user=user,
        ),
        "data.changes.currency",
        NET_WORTH,
    )
    vyomo = {"account": "vy_1", "kind": "trading", "currency": "USD", "name": "Trading"}
    vyomo |= {"institution": "Vyomo", "country": "US"}
    yield _refusal(
        "a trading account opened twice",
        [draft("vyomo.account.opened", vyomo, user=user)],
        draft("vyomo.account.opened", vyomo, user=user),
        "data.account",
        *both,
    )


def _rule(**members: Any) -> dict[str, Any]:
    return {
        "name": "Tell me",
        "status": "active",
        "trigger": {"type": "transaction", "direction": "credit"},
        "conditions": [],
        "actions": [{"type": "notify", "priority": "low", "message": "Money"}],
        **members,
    }


def _command(type: str, rule: str, definition: Any = None, version: int = 1) -> Draft:
    data: dict[str, Any] = {"rule": rule}
    if type != "app.rule.deleted":
        data |= {"version": version, "definition": definition or _rule()}
    return draft(type, data, user="usr_commands")


def _commands() -> Iterator[Refusal]:
    path = "data.rule"
    paused = _rule(status="paused")
    created = _command("app.rule.created", "rule_1", paused)
    changed, deleted = "app.rule.changed", "app.rule.deleted"
    yield _refusal("a rule changed that is not there", [], _command(changed, "none"), path, RULES)
    yield _refusal("a rule deleted that is not there", [], _command(deleted, "none"), path, RULES)
    again = _command("app.rule.created", "rule_1", paused)
    yield _refusal("a rule created twice", [created], again, path, RULES)
    ended = [_command("app.rule.created", "rule_2", paused), _command(deleted, "rule_2")]
    revived = _command(changed, "rule_2", paused, 2)
    yield _refusal("a rule changed after its end", ended, revived, path, RULES)
    for number, (name, definition) in enumerate(_DEFINITIONS.items()):
        made = _command("app.rule.created", f"rule_bad_{number}", definition)
        yield _refusal(f"a rule {name}", [], made, "data.definition", RULES)
    for what in ("Mars/Olympus", "IST+5:30", "../etc/passwd", "asia/kolkata\t"):
        made = draft(
            "app.preferences.changed", {"preferences": {"timezone": what}}, user="usr_commands"
        )
        yield _refusal(
            f"preferences in the time zone {what!r}",
            [],
            made,
            "data.preferences.timezone",
            NOTIFICATIONS,
            RULES,
        )
    for name, payload in {
        "an empty payload": {},
        "days as text": {"days": "soon"},
        "a notification that is no UUID": {"days": 1, "data": {"notification": "x", "count": 1}},
    }.items():
        data = {"timer": "t", "projection": NOTIFICATIONS, "payload": payload}
        made = draft("app.timer.fired", data, user="usr_commands")
        yield _refusal(f"a timer with {name}", [], made, "data.payload", NOTIFICATIONS)


_DEFINITIONS: dict[str, dict[str, Any]] = {
    "without members": {"x": 1},
    "without a trigger": {name: value for name, value in _rule().items() if name != "trigger"},
    "with an unknown trigger": _rule(trigger={"type": "full_moon"}),
    "with an unknown action": _rule(actions=[{"type": "rob_a_bank"}]),
    "with no action": _rule(actions=[]),
    "with a cooldown below zero": _rule(cooldownSeconds=-1),
    "in a time zone that there is not": _rule(timezone="Mars/Olympus"),
    "with an unknown member": _rule(colour="red"),
    "with an unknown operator": _rule(conditions=[{"field": "amount", "op": "~", "value": "1"}]),
    "of more than everything": _rule(
        actions=[{"type": "transfer", "from": "a", "to": "b", "percentage": "-5"}]
    ),
    "with a price that is no number": _rule(
        trigger={"type": "market_condition", "symbol": "AAPL", "below": "cheap"}
    ),
    "with a cron that is none": _rule(
        trigger={"type": "time_based", "cron": "often", "timezone": "UTC"}
    ),
}


def _funnels() -> Iterator[Refusal]:
    step = {"name": "a", "match": {"type": "journey.step.recorded", "action": "a"}}
    fine = {"order": "ordered", "windowSeconds": 60, "steps": [step]}
    for name, definition in {
        "without steps": {**fine, "steps": []},
        "of another order": {**fine, "order": "random"},
        "with no time": {**fine, "windowSeconds": 0},
        "with a step of an unknown field": {
            **fine,
            "steps": [{"name": "a", "match": {"type": "journey.step.recorded", "colour": "red"}}],
        },
        "with a step without a name": {**fine, "steps": [{"match": step["match"]}]},
        "of another name": {**fine, "name": "other"},
        "of nothing": {},
    }.items():
        made = draft(
            "app.funnel.defined",
            {"name": "mine", "definition": definition},
            user="usr_commands",
        )
        yield _refusal(f"a funnel {name}", [], made, "data.definition", FUNNELS)


def _derived() -> Iterator[Refusal]:
    data = {
        "rule": "none",
        "ruleVersion": 1,
        "symbol": "AAPL",
        "price": "1",
        "previous": "2",
        "event": "e",
    }
    made = draft("rule.crossed", data, user="usr_commands")
    yield _refusal("a crossing of a rule that is not there", [], made, "data.rule", RULES)

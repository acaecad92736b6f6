"""Histories dense with rules that fire and rules that are held back, from a seed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tests.builders import at, opened, posted, tick
from tests.rules_log import Log, rule_with

Step = Callable[[Log], object]

USERS = ("usr_1", "usr_2")
RULES = ("r1", "r2", "r3")
LINES = ("-10", "0", "5", "10", "10.00")
PRICES = ("8", "10", "10.00", "12")
CONDITIONS: tuple[list[dict[str, Any]], ...] = (
    [],
    [],
    [],
    [{"field": "currency", "op": "ne", "value": "EUR"}],
    [{"field": "amount", "op": "gt", "value": "5.00"}],
    [{"field": "category", "op": "in", "value": ["salary", "x"]}],
)


def history(chance: Random, length: int) -> list[Step]:
    """Some rules for everyone, then ``length`` steps of all kinds."""
    first = [define(chance, user, rule) for user in USERS for rule in RULES]
    return first + [step(chance) for _ in range(length)]


def hurried(log: Log, chance: Random) -> Log:
    """The log, in which others append while a command is on its way, some in one millisecond."""

    def between(log: Log) -> None:
        for _ in range(chance.choice([0, 1, 3])):
            chance.choice([post, price])(chance)(log)

    log.between = between
    log.step = lambda: chance.choice([0, 0, 1, 10])
    return log


def step(chance: Random) -> Step:
    kinds = {
        post: 10,
        price: 8,
        define: 3,
        delete: 0.3,
        open_account: 0.5,
        prefer: 0.5,
        repeat: 1,
    }
    kind: Callable[..., Step] = chance.choices(list(kinds), list(kinds.values()))[0]
    return kind(chance)


def define(chance: Random, user: str | None = None, rule: str | None = None) -> Step:
    user, rule = user or chance.choice(USERS), rule or chance.choice(RULES)
    definition = a_definition(chance)
    version = chance.choice([None, None, 1, 5])
    numbered = {} if version is None else {"version": version}
    effective = chance.random() < 0.7
    return lambda log: log.define(rule, definition, user=user, effective=effective, **numbered)


def a_definition(chance: Random) -> dict[str, Any]:
    trigger = a_trigger(chance)
    message = "{rule}: {amount} {symbol} {balance} {nothing}"
    actions: list[dict[str, Any]] = [{"type": "notify", "message": message}]
    if trigger["type"] != "market_condition" and chance.random() < 0.5:
        share = chance.choice(["20", "0.1", "33.333"])
        actions.insert(0, {"type": "transfer", "to": "b", "percentage": share})
    if chance.random() < 0.2:
        actions.append({"type": "close_position", "account": "v", "symbol": "AAPL"})
    return rule_with(
        trigger,
        status=chance.choice(["active"] * 8 + ["paused", "draft"]),
        conditions=chance.choice(CONDITIONS),
        actions=actions,
        requiresApproval=chance.random() < 0.2,
        cooldownSeconds=chance.choice([0, 0, 0, 60, 3600]),
        maxExecutionsPerDay=chance.choice([None, None, 1, 3]),
        timezone=chance.choice([None, None, "Asia/Kolkata", "America/New_York"]),
        expiresAt=chance.choice([None] * 8 + ["2026-02-13T00:00:00.000Z"]),
    )


def a_trigger(chance: Random) -> dict[str, Any]:
    kind = chance.choice(["transaction", "balance", "market_condition", "market_condition"])
    side = chance.choice(["below", "above"])
    if kind == "balance":
        return {"type": kind, "account": chance.choice("aab"), side: chance.choice(LINES)}
    if kind == "market_condition":
        symbol = chance.choice(["AAPL", "AAPL", "MSFT"])
        return {"type": kind, "symbol": symbol, side: chance.choice(PRICES)}
    choices = {
        "account": "ab",
        "direction": ["credit", "debit"],
        "category": ["salary", "food"],
        "currency": ["INR", "USD"],
        "minAmount": ["5", "10"],
        "maxAmount": ["10", "100"],
    }
    named = chance.sample(sorted(choices), chance.choice([0, 0, 1, 2]))
    return {"type": kind, **{name: chance.choice(choices[name]) for name in named}}


def a_time(chance: Random) -> Any:
    """Mostly on the way, some late, some on the next day (and so another one elsewhere)."""
    seconds = chance.choice([0, 1, 30, 59, 60, 61, 90, 3600, 36_000, 52_200])
    return at(seconds, days=chance.choice([0, 0, 0, 1]))


def post(chance: Random) -> Step:
    made = {
        "user": chance.choice(USERS),
        "amount": chance.choice(["0.01", "5", "10", "10.55", "20"]),
        "direction": chance.choice(["credit", "debit"]),
        "account": chance.choice("aab"),
        "currency": chance.choice(["INR"] * 8 + ["USD"]),
        "status": chance.choice(["posted"] * 8 + ["pending"]),
        "category": chance.choice(["salary", "food"]),
        "time": a_time(chance),
    }
    return lambda log: log.append(posted(**made))


def price(chance: Random) -> Step:
    symbol, amount = chance.choice(["AAPL", "AAPL", "MSFT"]), chance.choice(PRICES)
    late = chance.random() < 0.2
    # Ticks come in the order of their times, but for some; several may share an instant.
    return lambda log: log.append(
        tick(symbol, amount, time=at(-5 if late else len(log.records) // 3 * 20))
    )


def delete(chance: Random) -> Step:
    user, rule, effective = chance.choice(USERS), chance.choice(RULES), chance.random() < 0.7
    return lambda log: (
        (user, rule) in log.definitions and log.delete(rule, user=user, effective=effective)
    )


def open_account(chance: Random) -> Step:
    account, balance = chance.choice("ab"), chance.choice(LINES)
    user = chance.choice(USERS)
    return lambda log: log.append(opened(account, user=user, openingBalance=balance))


def prefer(chance: Random) -> Step:
    zone, user = chance.choice(["Asia/Tokyo", "America/Los_Angeles"]), chance.choice(USERS)
    effective = chance.random() < 0.7
    return lambda log: log.prefer(zone, user=user, effective=effective)


def repeat(chance: Random) -> Step:
    number = chance.randrange(1000)
    return lambda log: log.repeat(number)

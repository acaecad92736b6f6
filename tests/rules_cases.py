"""Short words for cases of rules: what is defined, what is paid, what came of it."""

from __future__ import annotations

from typing import Any

from projections.memory import MemoryStore
from projections.rules.tables import EXECUTIONS
from schemas.envelope import Draft
from tests.builders import posted
from tests.rules_log import Log, live, rule_with

EVERY = {"type": "transaction"}
BELOW_TEN = {"type": "market_condition", "symbol": "AAPL", "below": "10"}


async def outcomes(*steps: Any) -> list[tuple[str, str | None]]:
    """Event id -> outcome or reason, of all executions in the order of their events."""
    return listed(await live(Log(), steps))


def listed(store: MemoryStore) -> list[tuple[str, str | None]]:
    rows = sorted(store.table(EXECUTIONS), key=lambda row: (row.event, row.rule_id))
    return [(row.event, row.reason or row.outcome) for row in rows]


def define(trigger: dict[str, Any] = EVERY, *, rule: str = "r1", **members: Any) -> Any:
    definition = rule_with(trigger, **members)
    return lambda log: log.define(rule, definition)


def paid(id: str, amount: str = "10", **rest: Any) -> Draft:
    return posted(amount, id=id, **rest)

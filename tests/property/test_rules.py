"""Rules are a function of the log alone, and do what the plain reference says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.amounts import shown
from projections.memory import MemoryStore
from projections.rules.tables import EXECUTIONS, TABLES
from schemas.codec import encode
from tests.reference_rules import Reference
from tests.rules_histories import history, hurried
from tests.rules_log import Log, commands_first, live, refold, shuffled

seeds = st.integers(0, 1_000_000).map(Random)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(0, 80))
def test_any_batches_and_any_order_of_topics_give_the_same(chance: Random, length: int) -> None:
    log = hurried(Log(), chance)
    one_by_one = asyncio.run(live(log, history(chance, length)))
    for batches in (shuffled(log, chance), shuffled(log, chance), commands_first(log)):
        assert state(asyncio.run(refold(batches))) == state(one_by_one)


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(0, 80))
def test_it_is_what_the_reference_says(chance: Random, length: int) -> None:
    log = hurried(Log(), chance)
    store = asyncio.run(live(log, history(chance, length)))
    reference = Reference(log.entries(), shown)
    assert in_order(executions_of(store)) == in_order(reference.executions)
    assert in_order(crossings_of(store)) == in_order(reference.crossings)


def executions_of(store: MemoryStore) -> list[dict[str, Any]]:
    return [
        {
            "user": row.user_id,
            "rule": row.rule_id,
            "version": row.version,
            "event": row.event,
            "time": row.time,
            "outcome": row.outcome,
            "reason": row.reason,
            "actions": [without_id(action) for action in row.actions],
        }
        for row in store.table(EXECUTIONS)
    ]


def crossings_of(store: MemoryStore) -> list[dict[str, Any]]:
    return [
        {
            "user": made.user_id,
            "rule": made.data["rule"],
            "version": made.data["ruleVersion"],
            "tick": made.data["event"],
        }
        for made in store.derived
        if made.type == "rule.crossed.v1"
    ]


def state(store: MemoryStore) -> tuple[Any, ...]:
    derived = {made.id: encode(made) for made in store.derived}
    assert len(derived) == len(store.derived)
    refused = sorted((str(one.position), one.reason) for one in store.dead_letters.values())
    return [store.table(table) for table in TABLES], derived, refused


def without_id(action: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in action.items() if name != "action"}


def in_order(items: Iterable[Any]) -> list[Any]:
    return sorted(items, key=repr)

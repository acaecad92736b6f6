"""The fold of rules on prices, what it hands over, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from projections.memory import MemoryStore
from projections.rules.tables import EXECUTIONS
from projections.tables import Want
from schemas.codec import encode
from tests.builders import at, posted, tick
from tests.rules_cases import BELOW_TEN, EVERY, define, outcomes, paid
from tests.rules_log import SAVE_A_FIFTH, Folding, Log, live, rule_with

# Prices ---------------------------------------------------------------------------------------


async def test_a_price_fires_when_it_crosses_for_all_who_wait_for_it() -> None:
    def others(log: Log) -> None:
        log.define("r1", rule_with(BELOW_TEN), user="usr_2")
        log.define("r1", rule_with({**BELOW_TEN, "symbol": "MSFT"}), user="usr_3")

    log = Log()
    store = await live(
        log,
        [
            define(BELOW_TEN),
            define({"type": "market_condition", "symbol": "AAPL", "above": "9"}, rule="r2"),
            others,
            tick("AAPL", "9", id="1"),
            tick("AAPL", "8", id="2", time=at(1)),
            tick("AAPL", "10", id="3", time=at(2)),
            # Older than the newest: crosses nothing, and is not what comes next is measured by.
            tick("AAPL", "5", id="4", time=at(1)),
            # At the same instant the later in the log counts.
            tick("AAPL", "9.99", id="5", time=at(2)),
        ],
    )
    rows = {(row.user_id, row.rule_id, row.event) for row in store.table(EXECUTIONS)}
    assert rows == {("usr_17", "r2", "3"), ("usr_17", "r1", "5"), ("usr_2", "r1", "5")}
    crossing = next(one for one in store.derived if one.type == "rule.crossed.v1")
    assert crossing.data == {
        "rule": "r2",
        "ruleVersion": 1,
        "symbol": "AAPL",
        "price": "10",
        "previous": "8",
        "currency": "USD",
        "event": "3",
    }
    assert (crossing.user_id, crossing.time, crossing.causation_id) == ("usr_17", at(2), "3")


async def test_conditions_of_a_market_rule_are_over_the_tick() -> None:
    conditions = [{"field": "venue", "op": "eq", "value": "XNAS"}]
    found = await outcomes(
        define(BELOW_TEN, conditions=conditions),
        tick("AAPL", "12", id="1"),
        tick("AAPL", "9", id="2", time=at(1)),
        tick("AAPL", "12", id="3", time=at(2)),
        tick("AAPL", "9", id="4", time=at(3), venue="XNAS"),
    )
    assert found == [("4", "triggered")]


async def test_what_holds_a_market_rule_back_is_decided_with_its_person() -> None:
    found = await outcomes(
        define(BELOW_TEN, cooldownSeconds=60),
        *(tick("AAPL", "9" if n % 2 else "12", id=str(n), time=at(n * 30)) for n in range(6)),
        define(BELOW_TEN, status="paused"),
        tick("AAPL", "12", id="7", time=at(500)),
        tick("AAPL", "9", id="8", time=at(501)),
    )
    assert found == [
        ("1", "triggered"),
        ("3", "triggered"),
        ("5", "triggered"),
        ("8", "paused"),
    ]


# What follows ---------------------------------------------------------------------------------


async def test_an_execution_hands_over_its_actions_and_says_where_it_comes_from() -> None:
    salary = posted(
        "45000.55", account="acc_9f2", category="salary", id="pay", correlation_id="first"
    )
    store = await live(Log(), [lambda log: log.define("r1", SAVE_A_FIFTH), salary])
    triggered, transfer, notify = store.derived
    (row,) = store.table(EXECUTIONS)
    for made in store.derived:
        encode(made)
        assert (made.user_id, made.time) == ("usr_17", salary.time)
        assert (made.correlation_id, made.causation_id) == ("first", "pay")
    facts = {"execution": str(row.execution), "rule": "r1", "ruleVersion": 1, "event": "pay"}
    assert triggered.type == "rule.triggered.v1"
    assert triggered.data == {**facts, "outcome": "triggered", "actions": list(row.actions)}
    assert transfer.type == notify.type == "action.requested.v1"
    assert transfer.data == {
        **facts,
        "action": row.actions[0]["action"],
        "type": "transfer",
        "from": "acc_9f2",
        "to": "acc_sav",
        "percentage": "20",
        "amount": {"amount": "9000.11", "currency": "INR"},
    }
    assert notify.data == {
        **facts,
        "action": row.actions[1]["action"],
        "type": "notify",
        "priority": "medium",
        "message": "Saved ₹9,000.11",
    }


async def test_pending_and_skipped_hand_over_nothing() -> None:
    store = await live(
        Log(),
        [define(requiresApproval=True), paid("1"), define(status="paused"), paid("2")],
    )
    assert [made.type for made in store.derived] == ["rule.triggered.v1", "rule.skipped.v1"]
    assert store.derived[0].data["outcome"] == "pending"
    assert store.derived[1].data["reason"] == "paused"
    statuses = {row.event: row.actions[0]["status"] for row in store.table(EXECUTIONS)}
    assert statuses == {"1": "pending", "2": "skipped"}


@pytest.mark.parametrize(
    ("amount", "currency", "share", "expected"),
    [
        ("0.25", "INR", "10", "0.02"),
        ("0.35", "INR", "10", "0.04"),
        ("5", "JPY", "10", None),
        ("15", "JPY", "10", "2"),
        ("99999999999999999999.99", "INR", "33.333333333333333333", "33333333333333333333.00"),
        ("0.01", "INR", "20", None),
    ],
)
async def test_shares_are_rounded_half_to_even_and_nothing_is_not_handed_over(
    amount: str, currency: str, share: str, expected: str | None
) -> None:
    actions = [{"type": "invest", "symbol": "AAPL", "percentage": share}]
    store = await live(Log(), [define(actions=actions), paid("1", amount, currency=currency)])
    (row,) = store.table(EXECUTIONS)
    requested = [made for made in store.derived if made.type == "action.requested.v1"]
    if expected is None:
        assert (row.actions[0]["status"], requested) == ("skipped", [])
    else:
        assert requested[0].data["amount"] == {"amount": expected, "currency": currency}
        assert requested[0].data["from"] == "acc_1"


async def test_fixed_amounts_positions_and_placeholders() -> None:
    fixed = {"amount": "150000", "currency": "INR"}
    message = "{rule}: {amount} at {price} ({previous}) of {symbol}, {unknown} {0} {}"
    actions = [
        {"type": "notify", "priority": "high", "message": message},
        {"type": "transfer", "from": "a", "to": "b", "amount": fixed},
        {"type": "close_position", "account": "vy_1", "symbol": "AAPL"},
    ]
    store = await live(
        Log(),
        [
            define(BELOW_TEN, name="Dip", actions=actions),
            tick("AAPL", "10.50"),
            tick("AAPL", "9.90", time=at(1)),
        ],
    )
    notify, transfer, close = (
        made.data for made in store.derived if made.type == "action.requested.v1"
    )
    assert notify["message"] == "Dip: ₹1,50,000.00 at 9.90 (10.50) of AAPL, {unknown} {0} {}"
    assert transfer["amount"] == {"amount": "150000.00", "currency": "INR"}
    assert (close["account"], close["symbol"], close["percentage"]) == ("vy_1", "AAPL", "100")


async def test_a_repeated_event_executes_once() -> None:
    found = await outcomes(define(), paid("1"), lambda log: log.repeat(1), paid("2"))
    assert found == [("1", "triggered"), ("2", "triggered")]


# Cost -----------------------------------------------------------------------------------------


class Counting(MemoryStore):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.questions = 0
        self.rows_read = 0

    async def load(self, wants: Sequence[Want]) -> Any:
        loaded = await super().load(wants)
        self.questions += 1
        self.rows_read += sum(map(len, loaded.values()))
        return loaded


async def cost(log: Log, events: Sequence[Any]) -> Counting:
    """What a new lane asks for these events, when all before them is folded."""
    store = Counting()
    folding = Folding(store)
    for event in log.events[: -len(events)]:
        await folding.fold([event])
    store.questions = store.rows_read = 0
    fresh = Folding(store)
    await fresh.fold(events)
    return store


async def test_rules_that_can_not_match_cost_nothing() -> None:
    log = Log()
    for number in range(200):
        other = {"type": "balance", "account": f"other_{number}", "below": "5"}
        log.define(f"o{number}", rule_with(other))
        far = {"type": "market_condition", "symbol": "AAPL", "below": str(1000 + number)}
        log.define(f"m{number}", rule_with(far))
        log.define(f"r{number}", rule_with(EVERY), user=f"usr_{number + 100}")
    log.define("mine", rule_with(EVERY))
    log.append(tick("AAPL", "12"))
    posting = log.append(paid("1"))
    assert (await cost(log, [posting])).rows_read == 1
    crossing = log.append(tick("AAPL", "9", time=at(1)))
    assert (await cost(log, [crossing])).rows_read == 1  # the price itself


async def test_a_batch_asks_for_what_it_reads_at_once() -> None:
    log = Log()
    for number in range(20):
        below = {"type": "market_condition", "symbol": f"S{number}", "below": "10"}
        log.define("r1", rule_with(below), user=f"usr_{number}")
        log.define("r2", rule_with(EVERY, maxExecutionsPerDay=3), user=f"usr_{number}")
        log.append(tick(f"S{number}", "12"))
    ticks = [log.append(tick(f"S{n % 20}", "9" if n < 20 else "11", time=at(n))) for n in range(60)]
    ticks = [event for event in ticks if event.position.partition == 0]
    log.events = [event for event in log.events if event not in ticks] + ticks
    assert (await cost(log, ticks)).questions == 2
    paid_in = [log.append(paid(f"p{n}", user=f"usr_{n % 20}", time=at(n))) for n in range(60)]
    paid_in = [event for event in paid_in if event.position.partition == 0]
    log.events = [event for event in log.events if event not in paid_in] + paid_in
    assert (await cost(log, paid_in)).questions == 2

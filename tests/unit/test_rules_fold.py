"""The fold of rules, case by case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from projections.amounts import shown
from projections.memory import MemoryStore
from projections.rules.tables import ACCOUNTS, EXECUTIONS, HEADS
from projections.tables import Want
from schemas.codec import encode
from schemas.envelope import Draft
from tests.builders import at, draft, opened, posted, tick
from tests.reference_rules import Reference
from tests.rules_log import SAVE_A_FIFTH, Folding, Log, commands_first, live, refold, rule_with

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


# Positions ------------------------------------------------------------------------------------


async def test_a_rule_meets_what_comes_after_it_and_nothing_before() -> None:
    found = await outcomes(paid("1"), define(), paid("2"), paid("3", time=at(days=-300)))
    assert found == [("2", "triggered"), ("3", "triggered")]


async def test_offsets_decide_and_not_the_order_of_arrival() -> None:
    log = Log()
    await live(log, [paid("1"), paid("2"), define(), paid("3"), lambda log: log.delete("r1")])
    log.append(paid("4"))
    assert listed(await refold(commands_first(log))) == [("3", "triggered")]


async def test_without_an_offset_the_moments_of_appending_decide() -> None:
    log = Log()
    log.append(paid("1"))
    log.define("r1", rule_with(EVERY), effective=False)
    log.append(paid("2"))
    log.delete("r1", effective=False)
    log.append(paid("3"))
    assert listed(await refold(commands_first(log))) == [("2", "triggered")]


async def test_of_changes_that_did_not_know_of_each_other_the_later_in_the_log_counts() -> None:
    log = Log()
    log.define("r1", rule_with(EVERY, name="first"))
    for number in range(2):
        log.append(paid(str(number)))
    # Two gateways read the ends at different moments; the one that read first appends last.
    for offset, name in ((4, "second"), (2, "third"), (5, "fourth")):
        data = {
            "rule": "r1",
            "version": 2,
            "definition": rule_with(EVERY, name=name),
            "effective": {f"bfc.ledger:{log.events[1].position.partition}": offset},
        }
        log.append(draft("app.rule.changed", data, time=log.clock))
    for number in range(2, 6):
        log.append(paid(str(number)))
    store = await refold(commands_first(log))
    versions = {row.event: row.version for row in store.table(EXECUTIONS)}
    assert versions == {"0": 1, "1": 1, "2": 3, "3": 3, "4": 3, "5": 4}
    reference = Reference(log.entries(), shown)
    assert {one["event"]: one["version"] for one in reference.executions} == versions


async def test_a_change_of_trigger_ends_what_the_old_one_watched() -> None:
    found = await outcomes(
        tick("AAPL", "12", id="t1"),
        define(BELOW_TEN),
        tick("AAPL", "9", id="t2", time=at(1)),
        tick("AAPL", "11", id="t3", time=at(2)),
        define({"type": "transaction", "account": "acc_2"}),
        tick("AAPL", "9", id="t4", time=at(3)),
        paid("p1"),
        paid("p2", account="acc_2"),
        define(EVERY),
        paid("p3"),
    )
    assert found == [("p2", "triggered"), ("p3", "triggered"), ("t2", "triggered")]


async def test_a_draft_records_nothing_and_ends_what_was_active() -> None:
    found = await outcomes(
        define(), paid("1"), define(status="draft"), paid("2"), define(status="paused"), paid("3")
    )
    assert found == [("1", "triggered"), ("3", "paused")]


async def test_commands_that_cannot_be_are_dead_letters() -> None:
    unknown = draft("app.rule.deleted", {"rule": "r9"})
    bad = {"rule": "r2", "version": 1, "definition": {**SAVE_A_FIFTH, "trigger": {}}}
    other = {"rule": "r9", "version": 2, "definition": SAVE_A_FIFTH}
    again = {"rule": "r1", "version": 1, "definition": SAVE_A_FIFTH}
    store = await live(
        Log(),
        [
            define(),
            unknown,
            draft("app.rule.created", bad),
            draft("app.rule.changed", other),
            draft("app.rule.created", again),
            lambda log: log.delete("r1"),
            lambda log: log.delete("r1"),
            draft("app.rule.changed", again),
        ],
    )
    reasons = [letter.reason for letter in store.dead_letters.values()]
    assert reasons == [
        "data.rule: rule r9 is not known",
        "data.definition: trigger.type: is required",
        "data.rule: rule r9 is not known",
        "data.rule: rule r1 exists already",
        "data.rule: rule r1 was deleted",
    ]
    (head,) = store.table(HEADS)
    assert (head.version, head.deleted) == (2, True)


# Safety ---------------------------------------------------------------------------------------


async def test_the_cooldown_is_a_distance_in_event_time_to_what_was_not_skipped() -> None:
    found = await outcomes(
        define(cooldownSeconds=60),
        paid("1", time=at(0)),
        paid("2", time=at(59.999)),
        paid("3", time=at(60)),
        # Late: before the first, and between two that fired.
        paid("4", time=at(-59.999)),
        paid("5", time=at(-60)),
        paid("6", time=at(30)),
        paid("7", time=at(120)),
    )
    assert [what for _, what in found] == [
        "triggered",
        "cooldown",
        "triggered",
        "cooldown",
        "triggered",
        "cooldown",
        "triggered",
    ]


async def test_a_pending_execution_counts_for_the_cooldown() -> None:
    found = await outcomes(
        define(cooldownSeconds=60, requiresApproval=True), paid("1"), paid("2", time=at(1))
    )
    assert found == [("1", "pending"), ("2", "cooldown")]


@pytest.mark.parametrize(
    ("own", "chosen", "expected"),
    [
        # T0 is 09:30 UTC: 15:00 in Kolkata, 18:30 in Tokyo, 04:30 in New York.
        (None, None, ["triggered", "daily_limit", "daily_limit", "triggered"]),
        ("Asia/Kolkata", None, ["triggered", "daily_limit", "triggered", "daily_limit"]),
        (None, "Asia/Tokyo", ["triggered", "triggered", "daily_limit", "daily_limit"]),
        ("Asia/Kolkata", "Asia/Tokyo", ["triggered", "daily_limit", "triggered", "daily_limit"]),
    ],
)
async def test_the_daily_limit_counts_days_of_the_rule_or_of_the_person(
    own: str | None, chosen: str | None, expected: list[str]
) -> None:
    found = await outcomes(
        *([lambda log: log.prefer(chosen)] if chosen else []),
        define(maxExecutionsPerDay=1, timezone=own),
        paid("1", time=at(0)),
        paid("2", time=at(hours(6))),
        paid("3", time=at(hours(10))),
        paid("4", time=at(hours(15))),
    )
    assert [what for _, what in found] == expected


def hours(count: int) -> int:
    return count * 3600


async def test_the_first_of_several_reasons_is_named() -> None:
    held = {"cooldownSeconds": 60, "maxExecutionsPerDay": 1, "expiresAt": "2026-02-13T00:00:00Z"}
    found = await outcomes(
        define(**held),
        paid("1"),
        paid("2", time=at(1)),
        paid("3", time=at(61)),
        define(**held, status="paused"),
        paid("4", time=at(1)),
        paid("5", time="2026-02-13T00:00:00Z"),
        paid("6", time="2026-02-12T23:59:59.999Z"),
    )
    assert [what for _, what in found] == [
        "triggered",
        "cooldown",
        "daily_limit",
        "paused",
        "expired",
        "paused",
    ]


async def test_a_person_s_zone_is_the_one_at_the_event_s_position() -> None:
    late = at(hours(10))  # 19:30 UTC: the next day in Tokyo
    found = await outcomes(
        define(maxExecutionsPerDay=1),
        paid("1"),
        paid("2", time=late),
        lambda log: log.prefer("Asia/Tokyo"),
        paid("3", time=late),
        lambda log: log.prefer("No/Where"),
        paid("4", time=late),
    )
    assert [what for _, what in found] == ["triggered", "daily_limit", "triggered", "daily_limit"]


# Balances -------------------------------------------------------------------------------------


async def test_a_balance_fires_when_a_posting_takes_it_across() -> None:
    found = await outcomes(
        define({"type": "balance", "account": "acc_1", "below": "100"}, rule="low"),
        define({"type": "balance", "account": "acc_1", "above": "200"}, rule="high"),
        opened(openingBalance="150"),
        paid("1", "50", direction="debit"),
        paid("2", "0.01", direction="debit"),
        paid("3", "1", direction="debit"),
        paid("4", "500"),
        paid("5", "500", account="acc_2"),
        paid("6", "1000", direction="debit", status="pending"),
        paid("7", "1000", direction="debit"),
    )
    assert found == [("2", "triggered"), ("4", "triggered"), ("7", "triggered")]


async def test_an_opening_crosses_nothing_and_the_first_posting_can() -> None:
    found = await outcomes(
        define({"type": "balance", "account": "acc_1", "below": "100"}),
        opened(openingBalance="-5"),
        paid("1", "1"),
        define({"type": "balance", "account": "acc_2", "above": "100"}, rule="r2"),
        opened("acc_2", openingBalance="99"),
        paid("2", "2", account="acc_2"),
    )
    assert found == [("2", "triggered")]


async def test_a_late_opening_adds_to_what_was_posted_in_its_currency() -> None:
    store = await live(
        Log(),
        [
            paid("1", "10", direction="debit"),
            paid("2", "7", currency="USD"),
            opened(openingBalance="100"),
            paid("3", "7", currency="USD"),
            opened(),
        ],
    )
    (account,) = store.table(ACCOUNTS)
    assert {code: str(amount) for code, amount in account.balances.items()} == {
        "INR": "90",
        "USD": "7",
    }
    assert [letter.reason for letter in store.dead_letters.values()] == [
        "data.currency: account acc_1 is in INR, not in USD",
        "data.account: account acc_1 was opened before",
    ]


async def test_balances_are_exact() -> None:
    huge, tiny = "99999999999999999999", "0.000000000000000001"
    found = await outcomes(
        define({"type": "balance", "account": "acc_1", "below": huge}),
        opened(openingBalance=huge),
        paid("1", tiny),
        paid("2", tiny, direction="debit"),
        paid("3", tiny, direction="debit"),
    )
    assert found == [("3", "triggered")]


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

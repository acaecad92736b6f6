"""The fold of rules, case by case."""

from __future__ import annotations

import pytest

from projections.amounts import shown
from projections.rules.tables import ACCOUNTS, EXECUTIONS, HEADS
from tests.builders import at, draft, opened, tick
from tests.reference_rules import Reference
from tests.rules_cases import BELOW_TEN, EVERY, define, listed, outcomes, paid
from tests.rules_log import SAVE_A_FIFTH, Log, commands_first, live, refold, rule_with

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

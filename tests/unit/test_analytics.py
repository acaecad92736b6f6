"""What events become in ClickHouse, and the migrations in both of their forms."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from projections.analytics.fold import event_row, typed_rows
from projections.analytics.gather import gather
from projections.analytics.tables import (
    EVENTS,
    JOURNEY_STEPS,
    NET_WORTH_DAILY,
    PRICES,
    SESSIONS,
    TABLES,
    TRADES,
    TRANSACTIONS,
)
from projections.clickhouse.migrate import migrations
from projections.funnels.actions import SAME_AS
from schemas.registry import NEWEST
from tests.builders import draft, event_of, fixing, posted, step, tick, trade
from tests.log import Log


def row(table: object, event: object) -> dict[str, object]:
    found = [values for where, values in typed_rows(event) if where is table]  # type: ignore[arg-type]
    assert len(found) == 1
    names = [column.name for column in table.columns]  # type: ignore[attr-defined]
    return dict(zip(names, found[0], strict=True))


def test_a_posting_has_its_sign_and_its_exact_amount() -> None:
    amount = "12345678901234567890.123456789012345678"
    values = row(TRANSACTIONS, event_of(posted(amount, direction="debit")))
    assert values["amount"] == Decimal(amount)
    assert values["signed_amount"] == Decimal(f"-{amount}")
    assert values["category"] == "" and values["balance_after"] is None


def test_a_trade_without_a_fee_has_fee_zero() -> None:
    assert row(TRADES, event_of(trade()))["fee"] == Decimal(0)


def test_a_tick_has_no_person() -> None:
    event = event_of(tick(venue="NYSE"))
    assert row(PRICES, event)["venue"] == "NYSE"
    assert event_row(event, True)[9] == ""


def test_a_snapshot_is_a_day_of_net_worth() -> None:
    data = {"day": "2026-02-12", "currency": "INR", "netWorth": "-5.00", "assets": "0"}
    data |= {"liabilities": "5.00", "byCategory": {"debt": "-5.00"}}  # type: ignore[dict-item]
    values = row(NET_WORTH_DAILY, event_of(draft("wealth.snapshot.taken", data)))
    assert values["net_worth"] == Decimal("-5.00")
    assert values["by_category"] == {"debt": Decimal("-5.00")}


def test_the_data_is_kept_as_it_stands_in_the_log() -> None:
    event = event_of(step("signup", properties={"plan": "pro", "n": 1.50}, unknown="kept"))
    values = dict(zip([c.name for c in EVENTS.columns], event_row(event, True), strict=True))
    assert '"unknown":"kept"' in str(values["data"]).replace(" ", "")
    assert values["type"] == "journey.step.recorded.v1"
    assert values["name"] == "journey.step.recorded"


def test_only_a_named_step_says_whose_a_session_is() -> None:
    assert row(SESSIONS, event_of(step("a", session="s1")))["session"] == "s1"
    unnamed = event_of(step("a", session="s1", user=None))
    assert [table for table, _ in typed_rows(unnamed)] == [JOURNEY_STEPS]


@pytest.mark.parametrize(
    ("made", "action"),
    [
        (posted(), "first_deposit"),
        (posted(direction="debit"), None),
        (posted(status="pending"), None),
        (trade(side="buy"), "position_opened"),
        (trade(side="sell"), None),
        (fixing(), None),
        (draft("app.rule.activated", {"rule": "r1"}), "activate_rule"),
        (draft("app.rule.tested", {"rule": "r1"}), "test_rule"),
    ],
)
def test_domain_events_that_equal_an_action(made: object, action: str | None) -> None:
    event = event_of(made)  # type: ignore[arg-type]
    steps = [values for table, values in typed_rows(event) if table is JOURNEY_STEPS]
    assert [values[7] for values in steps] == ([action] if action else [])


def test_the_types_that_equal_actions_exist() -> None:
    assert set(SAME_AS) <= set(NEWEST)


def test_a_repetition_is_an_event_and_nothing_else() -> None:
    made = posted()
    log = Log()
    log.append([made, made])
    gathered = gather(log.batch(log.places()[0]))
    assert [values[7] for values in gathered.rows[EVENTS]] == [True, False]
    assert len(gathered.rows[TRANSACTIONS]) == 1


def test_rows_have_the_columns_of_their_tables() -> None:
    for made in (posted(), trade(), tick(), step("a")):
        for table, values in typed_rows(event_of(made)):
            assert len(values) == len(table.columns)


def test_one_node_has_no_marks_left_and_a_cluster_replicates_everything() -> None:
    single = [text for each in migrations() for text in each.statements()]
    cluster = [text for each in migrations() for text in each.statements("main")]
    assert not any(re.search(r"@(table|engine|distributed|window|on_cluster)", t) for t in single)
    assert not any("Replicated" in text or "on cluster" in text for text in single)
    assert not any("@" in text for text in cluster)
    for text in cluster:
        assert "on cluster 'main'" in text
        assert re.search(r"engine = (Replicated\w+|Distributed\()|create view|^alter table", text)
    made = {table.name for table in TABLES}
    for name in made:
        assert sum(f"exists {name}_local on cluster" in text for text in cluster) == 1
        assert sum(f"exists {name} on cluster" in text for text in cluster) == 1
    assert len(cluster) == len(single) + len(made)


def test_what_is_repeated_does_no_harm() -> None:
    for each in migrations():
        for text in each.statements():
            assert re.match(
                r"create (table|view) if not exists|alter table \w+ +add column if not exists", text
            )

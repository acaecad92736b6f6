"""Each rule of the notifications, one at a time."""

from __future__ import annotations

import msgspec
import pytest

from projections.notifications.projection import Notifications
from projections.notifications.settings import NotificationSettings
from projections.notifications.tables import (
    DELIVERIES,
    FURTHER_EVENTS,
    NOTIFICATIONS,
    PREFERENCES,
)
from projections.preferences.versions import version_of
from projections.rows import Rows
from projections.tables import Want
from schemas.codec import decode_batch, encode
from schemas.envelope import Draft, Event
from schemas.instants import EPOCH
from tests.builders import at, draft, events_of, opened, posted, record_of, trade
from tests.notification_folds import (
    alert,
    choosing,
    fold,
    kyc,
    only,
    order,
    preferring,
    raised,
    reported,
    transfer,
)


@pytest.mark.parametrize(
    ("made", "category", "priority"),
    [
        (transfer("completed"), "transfer", "low"),
        (transfer("failed"), "transfer", "high"),
        (posted(), "transaction", "low"),
        (trade(), "trade", "medium"),
        (order("rejected"), "trade", "high"),
        (reported("1"), "position", "high"),
        (kyc("rejected"), "kyc", "critical"),
        (kyc("approved"), "kyc", "medium"),
        (kyc("submitted"), "kyc", "low"),
        (kyc("updated"), "kyc", "low"),
        (opened(), "account", "medium"),
        (draft("bfc.account.closed", {"account": "acc_1"}), "account", "medium"),
        (draft("vyomo.account.closed", {"account": "vy_1"}), "account", "medium"),
        (draft("bfc.account.updated", {"account": "a", "changes": {}}), "account", "low"),
        (alert(priority="critical"), "alert", "critical"),
        (alert(), "alert", "medium"),
    ],
)
async def test_each_kind_has_its_category_and_priority(
    made: Draft, category: str, priority: str
) -> None:
    row = await only(made)
    assert (row.category, row.priority, row.count) == (category, priority, 1)
    assert row.type == made.type.removesuffix(".v1")
    assert row.title and row.message and row.links


@pytest.mark.parametrize(
    "made",
    [
        posted(status="pending"),
        posted(direction="debit", transfer="tr_1"),
        posted(direction="credit", transfer="tr_1"),
        transfer("initiated"),
        transfer("authenticated"),
        order("placed"),
        order("confirmed"),
        order("cancelled"),
        draft(
            "vyomo.dividend.paid",
            {"account": "v", "symbol": "A", "amount": "1", "currency": "USD"},
        ),
        draft(
            "vyomo.split.applied",
            {"account": "v", "symbol": "A", "numerator": 3, "denominator": 1},
        ),
        draft(
            "action.requested",
            {"action": "a", "execution": "e", "rule": "r", "type": "transfer"},
        ),
    ],
)
async def test_some_things_are_no_news(made: Draft) -> None:
    assert await raised(made) == []


def test_only_such_rows_are_foreseen_as_the_preferences_call_for() -> None:
    first, command = events_of([posted(), choosing("transaction", delivery="hourly")])
    (quiet,) = events_of([posted(status="pending")])
    rows = Rows()
    rows.load(Want(PREFERENCES, (first.user_id,)), [])
    assert [want.table for want in Notifications().foresee(rows, [first])] == [NOTIFICATIONS] * 2
    assert not [*Notifications().foresee(rows, [quiet, command])]
    rows.put(PREFERENCES, msgspec.structs.replace(version_of(command), ingested_at=EPOCH))
    digest = {want.table for want in Notifications().foresee(rows, [first])}
    assert digest == {NOTIFICATIONS, DELIVERIES}


async def test_priorities_are_configurable_and_checked() -> None:
    settings = NotificationSettings({"transaction": "critical"})
    (row,) = await raised(posted(), settings=settings)
    assert row.priority == "critical"
    with pytest.raises(ValueError, match=r"'salary' is not one of .*kyc_updated: 'urgent'"):
        NotificationSettings({"salary": "low", "kyc_updated": "urgent"})


async def test_a_debit_at_the_threshold_of_its_currency_is_large() -> None:
    said = preferring(largeDebit={"INR": "100000"})
    rows = await raised(
        said,
        posted("99999.99", "debit", time=at(0)),
        posted("100000", "debit", time=at(10)),
        posted("100000", "credit", time=at(20)),
        posted("100000", "debit", currency="USD", account="acc_2", time=at(30)),
    )
    assert [row.priority for row in rows] == ["low", "high", "low", "low"]
    assert rows[1].title == "Large debit"


async def test_events_of_one_person_type_and_priority_become_one_notification() -> None:
    drafts = [transfer(amount="15000", time=at(seconds)) for seconds in (0, 2, 5)]
    row = await only(*drafts)
    assert (row.count, row.events) == (3, [made.id for made in drafts])
    assert row.title == "3 transfers completed"
    assert row.message == "3 transfers completed (₹45,000.00 total)"
    assert (row.opened_at, row.updated_at) == (at(0), at(5))
    assert [(total.amount, total.currency) for total in row.totals] == [("45000.00", "INR")]


async def test_what_is_later_than_five_seconds_opens_its_own() -> None:
    rows = await raised(transfer(time=at(0)), transfer(time=at(5.001)), transfer(time=at(6)))
    assert [row.count for row in rows] == [1, 2]


async def test_an_event_older_than_the_first_opens_its_own_group() -> None:
    rows = await raised(
        transfer(time=at(4)), transfer(time=at(2)), transfer(time=at(5)), transfer(time=at(3))
    )
    assert [(row.opened_at, row.count) for row in rows] == [(at(4), 2), (at(2), 2)]


async def test_a_late_event_joins_a_group_of_long_ago() -> None:
    rows = await raised(transfer(time=at(0)), transfer(time=at(days=30)), transfer(time=at(1)))
    assert [row.count for row in rows] == [2, 1]


async def test_other_people_types_and_priorities_are_groups_of_their_own() -> None:
    rows = await raised(
        preferring(largeDebit={"INR": "50"}),
        posted("100", "debit"),
        posted("10", "debit"),
        posted("10", "debit", user="usr_2"),
        transfer(),
        transfer("failed"),
    )
    assert [row.count for row in rows] == [1] * 5


async def test_critical_ones_are_neither_grouped_nor_held() -> None:
    said = preferring(
        timezone="UTC",
        quietHours={"from": "00:00", "to": "23:59"},
        categories={"kyc": {"delivery": "daily"}, "alert": {"delivery": "hourly"}},
    )
    rows = await raised(said, kyc("rejected"), kyc("rejected"), alert(priority="critical"))
    assert [(row.count, row.deliver_at) for row in rows] == [(1, None)] * 3


async def test_totals_are_one_per_currency_without_sign_and_rounded_once() -> None:
    row = await only(
        posted("100.005", "debit"),
        posted("100", "credit", currency="JPY", account="acc_2"),
        posted("0.01", "credit"),
    )
    assert [(t.amount, t.currency) for t in row.totals] == [("100.02", "INR"), ("100", "JPY")]
    assert row.message == "3 transactions (₹100.02 and ￥100 total)"


async def test_trades_total_quantity_times_price_without_fees() -> None:
    row = await only(trade("10", "150.25", fee="3"), trade("0.5", "150.25", side="sell"))
    assert [(t.amount, t.currency) for t in row.totals] == [("1577.62", "USD")]
    assert row.message == "2 trades executed ($1,577.62 total)"


async def test_a_huge_sum_is_exact() -> None:
    row = await only(*[trade("9" * 20, "9" * 20) for _ in range(2)])
    assert row.totals[0].amount == f"{2 * (10**20 - 1) ** 2}.00"


async def test_alerts_group_across_rules_and_list_their_causes() -> None:
    row = await only(
        alert("Saved ₹200.00", "rule_1", event="txn-1"),
        alert("Paid ₹90.00", "rule_2", event="txn-2"),
    )
    assert (row.count, row.events) == (2, ["txn-1", "txn-2"])
    assert row.message == "2 alerts, the latest: Paid ₹90.00"


async def test_an_alert_without_event_names_what_caused_it() -> None:
    assert (await only(alert(causation_id="txn-1"))).events == ["txn-1"]


async def test_a_reported_position_differs_from_the_trades_until_its_time() -> None:
    rows = await raised(
        trade("10", time=at(0)),
        reported("10", time=at(1)),
        reported("12", time=at(2)),
        trade("2", side="sell", time=at(10)),
        reported("10", time=at(9)),  # late, and right for its time
        reported("8", time=at(11)),
        trade("1", time=at(5)),  # late
        reported("9", time=at(20)),
    )
    reports = [row for row in rows if row.category == "position"]
    assert [row.opened_at for row in reports] == [at(2)]
    assert reports[0].message == "vy_1 reports 12 AAPL, the trades add up to 10"


async def test_a_split_counts_and_a_late_trade_before_it_too() -> None:
    split = {"account": "vy_1", "symbol": "AAPL", "numerator": 3, "denominator": 1}
    rows = await raised(
        trade("10", time=at(0)),
        draft("vyomo.split.applied", split, time=at(10)),
        reported("30", time=at(11)),
        trade("1", time=at(5)),
        reported("33", time=at(12)),
    )
    assert not [row for row in rows if row.category == "position"]


async def test_each_growth_is_said_with_the_same_notification_and_the_cause() -> None:
    drafts = [transfer(time=at(0), correlation_id="flow-1"), transfer(time=at(1))]
    store = await fold(*drafts)
    first, second = store.derived
    assert first.data["notification"] == second.data["notification"] == first.subject
    assert first.id != second.id
    assert [made.causation_id for made in store.derived] == [made.id for made in drafts]
    assert [made.correlation_id for made in store.derived] == ["flow-1", drafts[1].id]
    assert [made.data["count"] for made in store.derived] == [1, 2]


async def test_what_is_said_is_a_valid_event_even_with_the_longest_texts() -> None:
    long = "x" * 4000
    store = await fold(
        posted(merchant=long, transaction=long, account=long),
        alert(long, long),
        transfer("failed", failure=long),
        *[trade("9" * 20, "9" * 20) for _ in range(2)],
    )
    for made in store.derived:
        (decoded,) = decode_batch([record_of(made)], partitions={"notifications": 6})
        assert isinstance(decoded, Event), decoded
        assert len(encode(made)) < 50_000


async def test_a_large_notification_lists_a_hundred_in_its_row_and_the_others_beside_it() -> None:
    drafts = [posted(time=at(number / 100)) for number in range(103)]
    store = await fold(*drafts)
    (row,) = store.table(NOTIFICATIONS)
    further = [other.event for other in store.table(FURTHER_EVENTS)]
    assert row.count == 103 and len(further) == 3
    assert [*row.events, *further] == [made.id for made in drafts]
    assert len(store.derived[-1].data["events"]) == 100

"""The rules of contract §4 and §7 on accounts and money, one by one."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from projections.memory import MemoryStore
from projections.net_worth.projection import NetWorth
from projections.net_worth.tables import ACCOUNTS, BALANCE_DAYS, BALANCES, PRICES
from schemas.envelope import Draft
from tests.builders import draft, events_of, fixing, opened, posted, tick, trade
from tests.net_worth_memory import answer, folded


def trading(holds_cash: bool | None = True, **rest: Any) -> Draft:
    data: dict[str, Any] = {
        "account": "vy_1",
        "kind": "trading",
        "currency": "USD",
        "name": "Trading",
        "institution": "Vyomo",
        "country": "US",
    }
    if holds_cash is not None:
        data["holdsCash"] = holds_cash
    data |= {name: value for name, value in rest.items() if name != "time"}
    return draft("vyomo.account.opened", data, time=rest.get("time"))


def updated(account: str = "acc_1", platform: str = "bfc", **changes: Any) -> Draft:
    time = changes.pop("time", None)
    return draft(f"{platform}.account.updated", {"account": account, "changes": changes}, time=time)


def lines(store: MemoryStore, as_of: date | None = None) -> list[tuple[str, ...]]:
    """(account, category, amount, currency) of all account lines."""
    return [
        (line["account"], line["category"], line["balance"]["amount"], line["balance"]["currency"])
        for line in answer(store, as_of=as_of)["accounts"]
    ]


def reasons(store: MemoryStore) -> list[str]:
    return [letter.reason for letter in store.dead_letters.values()]


async def test_a_balance_is_the_opening_balance_and_what_was_posted() -> None:
    store = await folded(
        [
            opened(openingBalance="1000.00"),
            posted("250.50"),
            posted("100", "debit"),
            posted("5", status="pending"),
            posted("1", balanceAfter="999999"),
        ]
    )
    assert lines(store) == [("acc_1", "savings", "1151.50", "INR")]


async def test_amounts_of_any_length_are_exact() -> None:
    store = await folded(
        [
            posted("99999999999999999999.999999999999999999"),
            posted("99999999999999999999.999999999999999999", "debit"),
            posted("0.000000000000000001", "debit"),
        ]
    )
    assert [row.amount for row in store.table(BALANCES)] == [Decimal("-0.000000000000000001")]


@pytest.mark.parametrize(
    ("kind", "category"),
    [
        ("savings", "savings"),
        ("current", "cash"),
        ("wallet", "cash"),
        ("fixed_deposit", "fixed_deposits"),
        ("recurring_deposit", "fixed_deposits"),
        ("credit_card", "debt"),
        ("loan", "debt"),
    ],
)
async def test_the_category_follows_the_kind(kind: str, category: str) -> None:
    store = await folded([opened(kind=kind, openingBalance="-5")])
    assert lines(store) == [("acc_1", category, "-5.00", "INR")]
    assert answer(store)["liabilities"] == "5.00"


async def test_a_posting_before_its_opening_counts_in_a_category_unknown() -> None:
    before = [posted("10"), posted("3", currency="USD")]
    store = await folded(before)
    assert lines(store) == [
        ("acc_1", "unknown", "10.00", "INR"),
        ("acc_1", "unknown", "3.00", "USD"),
    ]
    store = await folded([*before, opened(openingBalance="1")])
    # What counted once still counts, in the currency it has.
    assert lines(store) == [
        ("acc_1", "savings", "11.00", "INR"),
        ("acc_1", "savings", "3.00", "USD"),
    ]


async def test_a_posting_in_another_currency_is_refused_once_the_accounts_is_known() -> None:
    store = await folded([opened(), posted("10", currency="USD"), posted("1")])
    assert reasons(store) == ["data.currency: account acc_1 is in INR, not in USD"]
    assert lines(store) == [("acc_1", "savings", "1.00", "INR")]


async def test_an_account_is_opened_once() -> None:
    store = await folded([opened(openingBalance="1"), opened(openingBalance="2")])
    assert reasons(store) == ["data.account: account acc_1 is open already"]
    assert lines(store) == [("acc_1", "savings", "1.00", "INR")]


async def test_updates_count_in_event_time_and_closed_accounts_stay_listed() -> None:
    store = await folded(
        [
            updated(name="Second", time="2026-01-03T00:00:00Z"),
            opened(time="2026-01-01T00:00:00Z"),
            updated(name="First", kind="current", time="2026-01-02T00:00:00Z"),
            draft("bfc.account.closed", {"account": "acc_1"}, time="2026-01-04T00:00:00Z"),
        ]
    )
    (account,) = store.table(ACCOUNTS)
    assert (account.name, account.kind) == ("Second", "current")
    assert account.closed_at is not None and account.closed_at.day == 4
    names = [
        [line["name"] for line in answer(store, as_of=date(2026, 1, day))["accounts"]]
        for day in (1, 2, 3, 4)
    ]
    assert names == [["Everyday"], ["First"], ["Second"], ["Second"]]
    assert not answer(store, as_of=date(2025, 12, 31))["accounts"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"currency": "USD"}, "data.changes.currency"),
        ({"kind": "trading"}, "data.changes.kind"),
        ({"kind": None}, "data.changes.kind"),
        ({"name": 5}, "data.changes.name"),
        ({"holdsCash": "yes"}, "data.changes.holdsCash"),
    ],
)
async def test_changes_that_an_account_cannot_take_are_refused(
    changes: dict[str, Any], path: str
) -> None:
    store = await folded([opened(), updated(**changes)])
    assert [reason.partition(":")[0] for reason in reasons(store)] == [path]


async def test_changes_of_no_concern_are_ignored() -> None:
    store = await folded([opened(), updated(currency="INR", interestRate="3.5", colour=7)])
    assert not store.dead_letters


async def test_a_late_event_corrects_the_days_it_belongs_to() -> None:
    store = await folded(
        [
            opened(openingBalance="100", time="2026-01-01T10:00:00Z"),
            posted("10", time="2026-01-05T00:00:00Z"),
            posted("1", "debit", time="2026-01-02T23:59:59.999Z"),
        ]
    )
    by_day = [lines(store, date(2026, 1, day))[0][2] for day in (1, 2, 3, 4, 5)]
    assert by_day == ["100.00", "99.00", "99.00", "99.00", "109.00"]
    assert len(store.table(BALANCE_DAYS)) == 3


def test_a_posting_reads_no_row_of_its_day() -> None:
    """Nearly each event has a day of its own: its row would be asked for and be missing."""
    (event,) = events_of([posted("10")])
    assert all(want.table is not BALANCE_DAYS for want in NetWorth().wants(event))
    assert BALANCE_DAYS.sums


async def test_the_two_platforms_of_one_account_name_are_two_accounts() -> None:
    store = await folded([trading(account="same"), opened("same", openingBalance="7")])
    assert lines(store) == [("same", "savings", "7.00", "INR"), ("same", "cash", "0.00", "USD")]


async def test_trades_move_the_cash_of_an_account_that_holds_it() -> None:
    dividend = {"account": "vy_1", "symbol": "AAPL", "amount": "3.10", "currency": "USD"}
    events = [
        trade("10", "150", fee="1.20"),
        trade("4", "160", "sell", fee="0.80"),
        draft("vyomo.dividend.paid", dividend),
    ]
    # 2000 - 1500 - 1.20 + 640 - 0.80 + 3.10
    store = await folded([trading(openingBalance="2000"), *events])
    assert lines(store) == [("vy_1", "cash", "1141.10", "USD")]
    late = await folded([*events, trading(openingBalance="2000")])
    assert lines(late) == [("vy_1", "cash", "1141.10", "USD")]


@pytest.mark.parametrize("holds_cash", [False, None])
async def test_an_account_that_holds_no_cash_has_none(holds_cash: bool | None) -> None:
    store = await folded([trading(holds_cash), trade("10", "150")])
    assert lines(store) == [("vy_1", "cash", "0.00", "USD")]


async def test_trades_of_an_unknown_account_make_positions_but_no_cash() -> None:
    store = await folded([trade("10", "150"), tick(price="200")])
    known = answer(store, currency="USD")
    assert known["accounts"] == []
    assert known["byCategory"] == {"unknown": "2000.00"}
    store = await folded([trade("10", "150"), tick(price="200"), trading(False)])
    assert answer(store, currency="USD")["byCategory"] == {"cash": "0.00", "equities": "2000.00"}


async def test_a_late_tick_never_overwrites_a_newer_one() -> None:
    ticks = [
        tick(price="2", time="2026-01-02T12:00:00Z"),
        tick(price="1", time="2026-01-02T11:00:00Z"),
        tick(price="9", time="2026-01-01T11:00:00Z"),
        tick(price="3", time="2026-01-02T12:00:00Z"),
    ]
    store = await folded(ticks)
    # Of two at one instant the later in the log counts.
    assert [(row.day.day, row.price) for row in store.table(PRICES)] == [(1, 9), (2, 3)]


async def test_a_past_day_is_valued_with_what_was_known_at_its_end() -> None:
    store = await folded(
        [
            opened("acc_usd", "USD", openingBalance="10", time="2026-01-01T00:00:00Z"),
            fixing(rate="80", time="2026-01-02T00:00:00Z"),
            fixing(rate="90", time="2026-01-04T00:00:00Z"),
            fixing(rate="85", time="2026-01-03T00:00:00Z"),
        ]
    )
    worth = [
        answer(store, currency="INR", as_of=date(2026, 1, day))["netWorth"] for day in (1, 2, 3, 4)
    ]
    assert worth == ["0.00", "800.00", "850.00", "900.00"]
    assert answer(store, currency="INR")["netWorth"] == "900.00"
    missing = answer(store, currency="INR", as_of=date(2026, 1, 1))["missing"]
    assert missing == [{"kind": "fx", "base": "USD", "quote": "INR"}]


async def test_the_base_currency_is_that_of_the_first_account_in_event_time() -> None:
    store = await folded(
        [
            posted(account="acc_0", currency="EUR", time="2025-01-01T00:00:00Z"),
            opened("acc_1", "INR", time="2026-01-02T00:00:00Z"),
            opened("acc_2", "AUD", time="2026-01-01T00:00:00Z"),
            opened("acc_3", "USD", time="2026-01-01T00:00:00Z"),
        ]
    )
    assert answer(store)["currency"] == "AUD"
    assert answer(await folded([posted(currency="EUR")]))["currency"] == "EUR"

"""Net worth folded and answered in memory, and the events of small random worlds."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from hypothesis import strategies as st

from projections.batch import Partition
from projections.memory import MemoryStore, run
from projections.net_worth import tables
from projections.net_worth.holdings import first_currency, held_after, held_now, holdings
from projections.net_worth.projection import NetWorth
from projections.net_worth.rates import Rates
from projections.net_worth.valuation import value
from projections.net_worth.view import HOME_CURRENCY
from schemas.envelope import Draft, Event
from schemas.numbers import EXACT
from tests import builders
from tests.builders import T0, draft, events_of
from tests.reference_net_worth import Logged

TODAY = "2026-02-20"


async def folded(drafts: Sequence[Draft]) -> MemoryStore:
    """The store after these drafts, appended in this order, one batch for each partition."""
    return await run(NetWorth(), list(by_partition(events_of(drafts)).values()))


def by_partition(events: Sequence[Event]) -> dict[Partition, list[Event]]:
    found: dict[Partition, list[Event]] = defaultdict(list)
    for event in events:
        found[Partition(event.position.topic, event.position.partition)].append(event)
    return found


def logged(drafts: Sequence[Draft]) -> list[Logged]:
    """The same drafts for the independent reader: JSON and where it lies."""
    return [Logged(*event.position, json.loads(event.raw)) for event in events_of(drafts)]


def rows_of(store: MemoryStore) -> dict[str, list[Any]]:
    return {table.name: store.table(table) for table in tables.TABLES}


def answer(
    store: MemoryStore,
    user_id: str = "usr_17",
    currency: str | None = None,
    as_of: date | None = None,
) -> dict[str, Any]:
    """What ``view.net_worth`` answers, from rows in memory."""

    def mine(table: Any) -> list[Any]:
        return [row for row in store.table(table) if row.user_id == user_id]

    accounts, balances = mine(tables.ACCOUNTS), mine(tables.BALANCES)
    money: dict[tuple[str, str, str], Decimal] = {}
    end = None
    last = as_of or date.max
    if as_of is None:
        money = {(row.platform, row.account, row.currency): row.amount for row in balances}
        held: Mapping[Any, Any] = held_now(mine(tables.POSITIONS))
    else:
        end = datetime.combine(as_of, time(), UTC) + timedelta(days=1)
        for row in mine(tables.BALANCE_DAYS):
            if row.day <= as_of:
                key = (row.platform, row.account, row.currency)
                money[key] = EXACT.add(money.get(key, Decimal(0)), row.amount)
        held = held_after(entry for entry in mine(tables.ENTRIES) if entry.time < end)
    prices = {row.symbol: row for row in store.table(tables.PRICES) if row.day <= last}
    fixing_days = [row for row in store.table(tables.FIXING_DAYS) if row.day <= last]
    latest = [
        list(group)[-1] for _, group in groupby(fixing_days, lambda row: (row.base, row.quote))
    ]
    base = currency or first_currency(accounts, balances) or HOME_CURRENCY
    rates = Rates(
        tables.Fixing(row.base, row.quote, row.rate, row.time, row.log_offset) for row in latest
    )
    head = {
        "userId": user_id,
        "currency": base,
        "asOf": as_of.isoformat() if as_of else TODAY,
    }
    return head | value(holdings(accounts, money, held, end), prices, rates, base)


# Random worlds ----------------------------------------------------------------------------------

USERS = ("usr_1", "usr_2")
CURRENCIES = ("INR", "USD", "EUR", "JPY")
#: Now, the day before anything happens, and every day after it.
DAYS = [None, *(date(2026, 2, 10) + timedelta(days=number) for number in range(7))]

_users = st.sampled_from(USERS)
_symbols = st.sampled_from(("AAA", "BBB"))
_currencies = st.sampled_from(CURRENCIES)
_quantities = st.sampled_from(("1", "2", "3", "7", "10", "0.5", "3.000000000000000001"))
_prices = st.sampled_from(("0", "0.005", "1", "3.335", "10", "99.99", "12345678901234567890.125"))
_amounts = st.sampled_from(("0.01", "0.005", "1.115", "100", "33.33", "99999999999999999999.99"))
_sides = st.sampled_from(("buy", "sell"))

#: Few instants, so that many events fall together and many come late.
times = st.integers(0, 40).map(lambda number: T0 + timedelta(hours=3 * (number - 8)))


@st.composite
def _opened(draw: st.DrawFn) -> Draft:
    return builders.opened(
        draw(st.sampled_from(("a1", "a2"))),
        draw(_currencies),
        kind=draw(st.sampled_from(("savings", "current", "loan", "fixed_deposit"))),
        user=draw(_users),
        time=draw(times),
        **draw(st.sampled_from(({}, {"openingBalance": "-1000.005"}, {"openingBalance": "50"}))),
    )


@st.composite
def _trading_opened(draw: st.DrawFn) -> Draft:
    data = {
        "account": "v1",
        "kind": "trading",
        "currency": draw(_currencies),
        "name": "Trading",
        "institution": "Vyomo",
        "country": "IN",
        "holdsCash": draw(st.booleans()),
    }
    return draft("vyomo.account.opened", data, user=draw(_users), time=draw(times))


@st.composite
def _updated(draw: st.DrawFn) -> Draft:
    platform, account = draw(st.sampled_from((("bfc", "a1"), ("vyomo", "v1"))))
    changes = {"name": draw(st.sampled_from(("Rainy days", "Holidays")))}
    if platform == "vyomo":
        changes["holdsCash"] = draw(st.booleans())  # type: ignore[assignment]
    data = {"account": account, "changes": changes}
    return draft(f"{platform}.account.updated", data, user=draw(_users), time=draw(times))


@st.composite
def _posted(draw: st.DrawFn) -> Draft:
    return builders.posted(
        draw(_amounts),
        draw(st.sampled_from(("credit", "debit"))),
        draw(st.sampled_from(("a1", "a2"))),
        draw(_currencies),
        status=draw(st.sampled_from(("posted", "posted", "pending"))),
        balanceAfter="7",
        user=draw(_users),
        time=draw(times),
    )


@st.composite
def traded(draw: st.DrawFn) -> Draft:
    return builders.trade(
        draw(_quantities),
        draw(_prices),
        draw(_sides),
        draw(_symbols),
        "v1",
        draw(st.sampled_from(("USD", "USD", "USD", "EUR"))),
        instrument=draw(st.sampled_from(("equity", "etf"))),
        user=draw(_users),
        time=draw(times),
        **draw(st.sampled_from(({}, {"fee": "1.20"}))),
    )


@st.composite
def _dividend(draw: st.DrawFn) -> Draft:
    data = {
        "account": "v1",
        "symbol": draw(_symbols),
        "amount": draw(_amounts),
        "currency": draw(st.sampled_from(("USD", "EUR"))),
    }
    return draft("vyomo.dividend.paid", data, user=draw(_users), time=draw(times))


@st.composite
def split(draw: st.DrawFn) -> Draft:
    numerator, denominator = draw(st.sampled_from(((3, 1), (1, 3), (3, 2), (2, 7))))
    data = {
        "account": "v1",
        "symbol": draw(_symbols),
        "numerator": numerator,
        "denominator": denominator,
    }
    return draft("vyomo.split.applied", data, user=draw(_users), time=draw(times))


@st.composite
def _reported(draw: st.DrawFn) -> Draft:
    data = {"account": "v1", "symbol": draw(_symbols), "quantity": "77", "currency": "USD"}
    return draft("vyomo.position.reported", data, user=draw(_users), time=draw(times))


@st.composite
def _ticked(draw: st.DrawFn) -> Draft:
    currency = draw(st.sampled_from(("USD", "USD", "JPY")))
    return builders.tick(draw(_symbols), draw(_prices), currency, time=draw(times))


@st.composite
def _fixed(draw: st.DrawFn) -> Draft:
    pair = draw(st.permutations(CURRENCIES))
    rate = draw(st.sampled_from(("3", "0.7", "83.125", "0.000000000000000007")))
    return builders.fixing(pair[0], pair[1], rate, time=draw(times))


_events = st.one_of(
    _opened(),
    _trading_opened(),
    _updated(),
    _posted(),
    traded(),
    traded(),
    _dividend(),
    split(),
    _reported(),
    _ticked(),
    _fixed(),
)

#: Drafts in the order in which they are appended.
worlds = st.lists(_events, min_size=1, max_size=40)

"""The steps of the fold: one small function for each type of event."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec.structs import replace

from projections.net_worth import accounts, cost
from projections.net_worth.tables import (
    ACCOUNTS,
    BALANCE_DAYS,
    BALANCES,
    ENTRIES,
    FIXING_DAYS,
    FIXINGS,
    POSITIONS,
    PRICES,
    Account,
    Balance,
    BalanceDay,
    Entry,
    Fact,
    Fixing,
    FixingDay,
    Position,
    Price,
)
from projections.rows import Rows
from projections.tables import Want
from schemas.envelope import Event
from schemas.events.bank import AccountUpdated, TransactionPosted
from schemas.events.market import FxFixed, PriceTicked
from schemas.events.trading import DividendPaid, SplitApplied, TradeExecuted
from schemas.numbers import EXACT, ZERO

# Accounts -------------------------------------------------------------------------------------


def _opened(rows: Rows, event: Event) -> None:
    data: Any = event.data
    before = _account(rows, event)
    if before.opened_at is not None:
        rows.refuse("data.account", f"account {data.account} is open already")
    _tell(rows, event, before, "opened", accounts.opening(data))
    if data.opening_balance is not None:
        _move(rows, event, data.currency, data.opening_balance)


def _updated(rows: Rows, event: Event) -> None:
    data: AccountUpdated = event.data
    before = _account(rows, event)
    currency = data.changes.get("currency", before.currency)
    if currency != before.currency:
        rows.refuse("data.changes.currency", "an account's currency does not change")
    try:
        members = accounts.changes(before.platform, data.changes)
    except ValueError as wrong:
        rows.refuse(*wrong.args)
    _tell(rows, event, before, "updated", members)


def _closed(rows: Rows, event: Event) -> None:
    _tell(rows, event, _account(rows, event), "closed", {})


def _account(rows: Rows, event: Event) -> Account:
    key = (_person(event), _platform(event), event.data.account)
    return rows.get(ACCOUNTS, *key) or accounts.unknown(*key)


def _tell(rows: Rows, event: Event, before: Account, what: str, members: dict[str, Any]) -> None:
    fact = Fact(event.time, event.position.offset, what, members)
    rows.put(ACCOUNTS, accounts.told(before, fact))


def _account_wants(event: Event) -> list[Want]:
    return [Want(ACCOUNTS, (_person(event),))]


# Money ----------------------------------------------------------------------------------------


def _posted(rows: Rows, event: Event) -> None:
    data: TransactionPosted = event.data
    account = rows.get(ACCOUNTS, _person(event), _platform(event), data.account)
    if account is not None and account.currency not in (None, data.currency):
        rows.refuse(
            "data.currency",
            f"account {data.account} is in {account.currency}, not in {data.currency}",
        )
    if data.status == "posted":
        # copy_negate: a minus sign would round to the 28 digits of Python's default context.
        amount = data.amount if data.direction == "credit" else data.amount.copy_negate()
        _move(rows, event, data.currency, amount)


def _move(rows: Rows, event: Event, currency: str, amount: Decimal) -> None:
    """Add to the account's balance, and to what its day moved."""
    user_id, platform, account = _person(event), _platform(event), event.data.account
    time, offset = event.time, event.position.offset
    balance = rows.get(BALANCES, user_id, platform, account, currency)
    if balance is None:
        total, since, since_offset = EXACT.add(ZERO, amount), time, offset
    else:
        total = EXACT.add(balance.amount, amount)
        since, since_offset = min((balance.since, balance.since_offset), (time, offset))
    rows.put(BALANCES, Balance(user_id, platform, account, currency, total, since, since_offset))
    rows.add(BALANCE_DAYS, BalanceDay(user_id, time.date(), platform, account, currency, amount))


def _money_wants(event: Event) -> list[Want]:
    person = (_person(event),)
    return [Want(ACCOUNTS, person), Want(BALANCES, person)]


# Positions ------------------------------------------------------------------------------------


def _traded(rows: Rows, event: Event) -> None:
    data: TradeExecuted = event.data
    quantity = data.quantity if data.side == "buy" else data.quantity.copy_negate()
    fee = data.fee or ZERO
    entry = Entry(
        *_entry_key(event),
        event_id=event.id,
        what="trade",
        currency=data.currency,
        instrument=data.instrument,
        quantity=quantity,
        price=data.price,
        fee=fee,
    )
    _enter(rows, entry)
    # Kept also where no cash is held or the account is not known yet: an opening that comes
    # later then finds the cash of all earlier trades.
    paid = EXACT.add(EXACT.multiply(quantity, data.price), fee)
    _move(rows, event, data.currency, paid.copy_negate())


def _dividend(rows: Rows, event: Event) -> None:
    data: DividendPaid = event.data
    entry = Entry(
        *_entry_key(event),
        event_id=event.id,
        what="dividend",
        currency=data.currency,
        amount=data.amount,
    )
    _enter(rows, entry)
    _move(rows, event, data.currency, data.amount)


def _split(rows: Rows, event: Event) -> None:
    data: SplitApplied = event.data
    entry = Entry(
        *_entry_key(event),
        event_id=event.id,
        what="split",
        numerator=data.numerator,
        denominator=data.denominator,
    )
    _enter(rows, entry)


def _enter(rows: Rows, entry: Entry) -> None:
    """Keep the entry; add it to the position, or fold the position again if it comes late."""
    rows.put(ENTRIES, entry)
    key = (entry.user_id, entry.account, entry.symbol)
    place = (entry.time, entry.log_offset)
    position = rows.get(POSITIONS, *key)
    if position is None:
        rows.put(POSITIONS, Position(*key, *place, cost.add((), entry)))
    elif (position.last_time, position.last_offset) < place:
        rows.put(POSITIONS, Position(*key, *place, cost.add(position.books, entry)))
    else:
        books = cost.fold(rows.find(ENTRIES, *key))
        rows.put(POSITIONS, replace(position, books=books))


def _entry_key(event: Event) -> tuple[str, str, str, datetime, int]:
    data = event.data
    return _person(event), data.account, data.symbol, event.time, event.position.offset


def _position_wants(event: Event) -> list[Want]:
    data = event.data
    return [
        Want(POSITIONS, (_person(event), data.account, data.symbol)),
        Want(BALANCES, (_person(event),)),
    ]


# Market data ----------------------------------------------------------------------------------


def _ticked(rows: Rows, event: Event) -> None:
    data: PriceTicked = event.data
    key = (data.symbol, event.time.date())
    place = (event.time, event.position.offset)
    before = rows.get(PRICES, *key)
    if before is None or (before.time, before.log_offset) < place:
        rows.put(PRICES, Price(*key, data.price, data.currency, *place))


def _price_wants(event: Event) -> list[Want]:
    return [Want(PRICES, (event.data.symbol, event.time.date()))]


def _fixed(rows: Rows, event: Event) -> None:
    data: FxFixed = event.data
    pair = (data.base, data.quote)
    place = (event.time, event.position.offset)
    latest = rows.get(FIXINGS, *pair)
    if latest is None or (latest.time, latest.log_offset) < place:
        rows.put(FIXINGS, Fixing(*pair, data.rate, *place))
    key = (*pair, event.time.date())
    of_day = rows.get(FIXING_DAYS, *key)
    if of_day is None or (of_day.time, of_day.log_offset) < place:
        rows.put(FIXING_DAYS, FixingDay(*key, data.rate, *place))


def _fixing_wants(event: Event) -> list[Want]:
    pair = (event.data.base, event.data.quote)
    return [Want(FIXINGS, pair), Want(FIXING_DAYS, (*pair, event.time.date()))]


# The table of steps -----------------------------------------------------------------------------


def _person(event: Event) -> str:
    assert event.user_id is not None, "events of a ledger name a person"
    return event.user_id


def _platform(event: Event) -> str:
    return event.type.partition(".")[0]


class Step(NamedTuple):
    """How one type of event is folded, and the rows that this reads."""

    fold: Callable[[Rows, Event], None]
    wants: Callable[[Event], list[Want]]


STEPS: dict[str, Step] = {
    "bfc.account.opened": Step(_opened, _money_wants),
    "bfc.account.updated": Step(_updated, _account_wants),
    "bfc.account.closed": Step(_closed, _account_wants),
    "bfc.transaction.posted": Step(_posted, _money_wants),
    "vyomo.account.opened": Step(_opened, _money_wants),
    "vyomo.account.updated": Step(_updated, _account_wants),
    "vyomo.account.closed": Step(_closed, _account_wants),
    "vyomo.trade.executed": Step(_traded, _position_wants),
    "vyomo.dividend.paid": Step(_dividend, _position_wants),
    "vyomo.split.applied": Step(_split, _position_wants),
    "market.price.ticked": Step(_ticked, _price_wants),
    "market.fx.fixed": Step(_fixed, _fixing_wants),
}

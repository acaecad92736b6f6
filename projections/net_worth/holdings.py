"""What a person holds at a moment, not yet valued: lines of money and lines of positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import ClassVar

import msgspec

from projections.net_worth import cost
from projections.net_worth.accounts import CATEGORIES, UNKNOWN, known_until
from projections.net_worth.exact import Fraction, of_text
from projections.net_worth.tables import Account, Balance, Book, Entry, Position
from schemas.numbers import ZERO

#: The category of a position, by its instrument.
INSTRUMENTS: Mapping[str | None, str] = {
    "equity": "equities",
    "etf": "funds",
    "mutual_fund": "funds",
    "bond": "bonds",
    "option": "derivatives",
    "future": "derivatives",
    "crypto": "crypto",
    "fx": "fx",
}

#: (platform, account, currency) -> the sum of what moved.
Money = Mapping[tuple[str, str, str], Decimal]
#: (account, symbol) -> its books.
Held = Mapping[tuple[str, str], tuple[Book, ...]]


class MoneyLine(msgspec.Struct, frozen=True):
    """The money of an account in one currency."""

    platform: str
    account: str
    kind: str
    category: str
    name: str | None
    balance: Fraction
    currency: str


class PositionLine(msgspec.Struct, frozen=True):
    """A symbol in an account in the currency it is traded in; figures are in that currency."""

    account: str
    symbol: str
    instrument: str
    category: str
    currency: str
    quantity: Fraction
    cost: Fraction
    realised: Fraction
    dividends: Fraction
    fees: Fraction

    #: Only one platform has positions.
    platform: ClassVar[str] = "vyomo"


class Holdings(msgspec.Struct, frozen=True):
    """All lines of a person, those at zero and of closed accounts too."""

    money: tuple[MoneyLine, ...]
    positions: tuple[PositionLine, ...]


def holdings(
    accounts: Iterable[Account], money: Money, held: Held, end: datetime | None
) -> Holdings:
    """The lines, with the accounts as they were known before ``end`` (None: as known now)."""
    open_accounts: dict[tuple[str, str], Account] = {}
    for account in accounts:
        then = known_until(account, end)
        if then.opened_at is not None:
            open_accounts[then.platform, then.account] = then
    return Holdings(
        money=tuple(_money_lines(open_accounts, money)),
        positions=tuple(
            _position_line(place, book, open_accounts)
            for place, books in sorted(held.items())
            for book in books
        ),
    )


def held_now(positions: Iterable[Position]) -> Held:
    """The books as they stand."""
    return {(row.account, row.symbol): row.books for row in positions}


def held_after(entries: Iterable[Entry]) -> Held:
    """The books as these entries leave them, given in order of account, symbol, time and log."""
    return {
        place: cost.fold(group)
        for place, group in groupby(entries, key=lambda entry: (entry.account, entry.symbol))
    }


def first_currency(accounts: Iterable[Account], balances: Iterable[Balance]) -> str | None:
    """The currency of a person's first account: by event time, then by the log.

    Accounts whose opening is not known yet come after all others, by their first movement.
    """
    opened = [
        (account.opened_at, account.platform, account.opened_offset, account.currency)
        for account in accounts
        if account.opened_at is not None
    ]
    moved = [(row.since, row.platform, row.since_offset, row.currency) for row in balances]
    return min(opened or moved)[3] if opened or moved else None


def _money_lines(
    open_accounts: Mapping[tuple[str, str], Account], money: Money
) -> Iterable[MoneyLine]:
    amounts = dict(money)
    for place, opened in open_accounts.items():
        assert opened.currency is not None, "an opening names the currency"
        amounts.setdefault((*place, opened.currency), ZERO)
    for (platform, name, currency), amount in sorted(amounts.items()):
        account = open_accounts.get((platform, name))
        if platform == "vyomo" and not (account and account.holds_cash):
            # Its movements are not its own money; once opened it is listed, with none.
            if account is None or account.currency != currency:
                continue
            amount = ZERO
        kind = account.kind if account and account.kind else UNKNOWN
        yield MoneyLine(
            platform=platform,
            account=name,
            kind=kind,
            category=CATEGORIES.get(kind, UNKNOWN),
            name=account.name if account else None,
            balance=Fraction(amount),
            currency=currency,
        )


def _position_line(
    place: tuple[str, str], book: Book, open_accounts: Mapping[tuple[str, str], Account]
) -> PositionLine:
    account, symbol = place
    is_known = (PositionLine.platform, account) in open_accounts
    return PositionLine(
        account=account,
        symbol=symbol,
        instrument=book.instrument or UNKNOWN,
        category=INSTRUMENTS.get(book.instrument, UNKNOWN) if is_known else UNKNOWN,
        currency=book.currency,
        quantity=of_text(book.quantity),
        cost=of_text(book.cost),
        realised=cost.realised(book),
        dividends=Fraction(book.dividends),
        fees=Fraction(book.fees),
    )

"""The rows of net worth: small ones of each person, and prices and fixings that all share.

The two platforms of a person never write the same row, since account rows carry the platform and
positions belong to one of them; so the order between their topics can't matter.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from projections.tables import Row, Table
from schemas.numbers import ZERO


class Fact(msgspec.Struct, frozen=True):
    """What one event said of an account: the members that net worth uses, by column name."""

    time: datetime
    log_offset: int
    #: opened, updated or closed
    what: str
    members: dict[str, Any]


class Account(Row, frozen=True):
    """An account as known now, and the facts that say what was known at any past day.

    Without an opening (``opened_at`` None) it has no currency and no kind yet.
    """

    user_id: str
    platform: str
    account: str
    kind: str | None
    currency: str | None
    name: str | None
    institution: str | None
    holds_cash: bool
    opened_at: datetime | None
    opened_offset: int | None
    closed_at: datetime | None
    facts: tuple[Fact, ...]


class Balance(Row, frozen=True):
    """All that moved on an account in one currency, the opening balance included.

    Of a trading account these are the movements of cash, kept also where none is held: an opening
    that comes late may say that it is. ``since`` and ``since_offset`` are the first movement's.
    """

    user_id: str
    platform: str
    account: str
    currency: str
    amount: Decimal
    since: datetime
    since_offset: int


class BalanceDay(Row, frozen=True):
    """What one day (UTC, by event time) moved; a day's balance is the sum up to it.

    Differences instead of balances, so that a late event touches its own day and no later one.
    """

    user_id: str
    day: date
    platform: str
    account: str
    currency: str
    amount: Decimal


class Entry(Row, frozen=True):
    """A trade, a dividend or a split: what a position is folded from."""

    user_id: str
    account: str
    symbol: str
    time: datetime
    log_offset: int
    event_id: str
    #: trade, dividend or split
    what: str
    #: None for a split, which bears on every currency.
    currency: str | None = None
    instrument: str | None = None
    #: Negative if sold.
    quantity: Decimal | None = None
    price: Decimal | None = None
    fee: Decimal | None = None
    #: Of a dividend.
    amount: Decimal | None = None
    numerator: int | None = None
    denominator: int | None = None


class Lot(msgspec.Struct, frozen=True):
    """What one trade opened and no later one has closed; exact numbers as text."""

    quantity: str
    unit_cost: str
    time: datetime
    event_id: str


class Book(msgspec.Struct, frozen=True):
    """A position in the one currency it is traded in; exact numbers as text.

    ``flow`` is what sales brought in less what purchases cost, fees apart. What is realised
    follows from it: flow + cost of what is still held.
    """

    currency: str
    instrument: str | None = None
    #: Negative when short, and so is the cost.
    quantity: str = "0"
    #: By moving average, of all that is held.
    cost: str = "0"
    flow: Decimal = ZERO
    fees: Decimal = ZERO
    dividends: Decimal = ZERO
    #: First in, first out; the oldest first.
    lots: tuple[Lot, ...] = ()


class Position(Row, frozen=True):
    """A symbol in an account, folded from its entries; the last of them is named here."""

    user_id: str
    account: str
    symbol: str
    last_time: datetime
    last_offset: int
    books: tuple[Book, ...]


class Price(Row, frozen=True):
    """The last tick of a day (UTC, by event time); the latest is the one of the latest day."""

    symbol: str
    day: date
    price: Decimal
    currency: str
    time: datetime
    log_offset: int


class Fixing(Row, frozen=True):
    """The latest fixing of a pair: one ``base`` is worth ``rate`` of ``quote``."""

    base: str
    quote: str
    rate: Decimal
    time: datetime
    log_offset: int


class FixingDay(Row, frozen=True):
    """The last fixing of a pair on a day (UTC, by event time)."""

    base: str
    quote: str
    day: date
    rate: Decimal
    time: datetime
    log_offset: int


ACCOUNTS = Table("accounts", Account, ("user_id", "platform", "account"), unit=1)
BALANCES = Table("balances", Balance, ("user_id", "platform", "account", "currency"), unit=1)
# Sums: nearly each posting has a day of its own, whose row need not be read to be added to.
BALANCE_DAYS = Table(
    "balance_days",
    BalanceDay,
    ("user_id", "day", "platform", "account", "currency"),
    unit=2,
    sums=("amount",),
)
# Not cached: only a trade that comes late reads them, and there are many.
ENTRIES = Table(
    "position_entries",
    Entry,
    ("user_id", "account", "symbol", "time", "log_offset"),
    unit=3,
    cached=False,
)
POSITIONS = Table("positions", Position, ("user_id", "account", "symbol"), unit=3)
PRICES = Table("prices", Price, ("symbol", "day"), unit=2)
FIXINGS = Table("fixings", Fixing, ("base", "quote"), unit=2)
FIXING_DAYS = Table("fixing_days", FixingDay, ("base", "quote", "day"), unit=3)

TABLES: tuple[Table[Any], ...] = (
    ACCOUNTS,
    BALANCES,
    BALANCE_DAYS,
    ENTRIES,
    POSITIONS,
    PRICES,
    FIXINGS,
    FIXING_DAYS,
)

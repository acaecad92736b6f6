"""What the trading platform (Vyomo) says: accounts, orders, trades, dividends, splits.

Its accounts are updated and closed with the same data as the bank's."""

from __future__ import annotations

from typing import Literal

from schemas.events.fields import (
    Amount,
    Balance,
    Currency,
    Data,
    Day,
    Fee,
    Id,
    Limit,
    Number,
    Positive,
    Price,
    Quantity,
    Text,
)

Side = Literal["buy", "sell"]


class TradingAccountOpened(Data):
    """A trading account exists from now on; with `holds_cash`, trades move its cash, too."""

    account: Id
    kind: Literal["trading"]
    currency: Currency
    name: Text
    institution: Text
    country: Text
    holds_cash: bool = False
    opening_balance: Balance | None = None
    credit_limit: Limit | None = None
    interest_rate: Number | None = None
    maturity: Day | None = None


class Order(Data):
    """A step of an order's workflow; the trades move the position."""

    order: Id
    symbol: Id
    side: Side
    kind: Literal["market", "limit", "stop"]
    quantity: Quantity
    limit_price: Price | None = None
    account: Id


class OrderPlaced(Order):
    """The person asked for it."""


class OrderConfirmed(Order):
    """The exchange has it."""


class OrderCancelled(Order):
    """It is withdrawn."""


class OrderRejected(Order):
    """It was refused."""


class TradeExecuted(Data):
    """The only event that opens or closes a position."""

    trade: Id
    order: Id | None = None
    account: Id
    symbol: Id
    instrument: Literal["equity", "etf", "mutual_fund", "bond", "option", "future", "crypto", "fx"]
    side: Side
    quantity: Quantity
    price: Price
    currency: Currency
    fee: Fee | None = None


class DividendPaid(Data):
    """Cash for holding a symbol."""

    account: Id
    symbol: Id
    amount: Amount
    currency: Currency


class SplitApplied(Data):
    """3-for-1 is numerator 3, denominator 1: quantity times 3, unit cost divided by 3."""

    account: Id
    symbol: Id
    numerator: Positive
    denominator: Positive


class PositionReported(Data):
    """The platform's own statement of a position; a short has a negative quantity."""

    account: Id
    symbol: Id
    quantity: Number
    average_price: Price | None = None
    currency: Currency

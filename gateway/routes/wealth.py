"""``/api/wealth``: what a person owns and owes."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.answers import COMMANDS, reading
from gateway.operations import Call, Operation, Shape
from gateway.routes.shapes import MoneyShape
from projections.net_worth.view import net_worth
from projections.postgres.pool import acquire
from projections.preferences.view import preferred_currency
from schemas.events.fields import Currency, Day

#: The projection that keeps preferences, for the base currency.
PREFERENCES = "notifications"


class NetWorthQuery(Shape):
    """In which currency, and as of the end of which day (UTC)."""

    currency: Currency | None = None
    as_of: Day | None = None


class CurrencyLine(Shape):
    """All lines of one currency; `value` is null without a rate."""

    currency: str
    native: str
    value: str | None


class AccountLine(Shape):
    """One account; what is owed is negative."""

    account: str
    platform: str
    kind: str | None
    category: str
    name: str | None
    balance: MoneyShape
    value: str | None


class PositionLine(Shape):
    """One position, at the latest price."""

    account: str
    symbol: str
    instrument: str
    category: str
    quantity: str
    average_cost: str | None
    price: str | None
    price_time: str | None
    currency: str
    market_value: str | None
    value: str | None
    unrealised: str | None
    realised: str
    dividends: str
    fees: str


class NetWorth(Shape):
    """Figures are decimal strings in `currency`; what has no rate or price is under `missing`."""

    user_id: str
    currency: str
    as_of: str
    net_worth: str
    assets: str
    liabilities: str
    by_category: dict[str, str]
    by_platform: dict[str, str]
    by_currency: list[CurrencyLine]
    accounts: list[AccountLine]
    positions: list[PositionLine]
    missing: list[dict[str, str]]


async def show(call: Call) -> Response:
    """Net worth now, or as of a day."""
    query = call.query(NetWorthQuery)

    async def read() -> dict[str, Any]:
        async with acquire(call.parts.pool) as connection:
            preferred = await preferred_currency(connection, call.user_id)
            return await net_worth(
                connection, call.user_id, query.currency, query.as_of, preferred=preferred
            )

    return await reading(call, {"net_worth": None, PREFERENCES: COMMANDS}, read)


OPERATIONS = (
    Operation(
        "GET",
        "/api/wealth/net-worth",
        show,
        "What the caller owns and owes",
        answer=NetWorth,
        query=NetWorthQuery,
        reads=True,
    ),
)

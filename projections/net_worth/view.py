"""Reading net worth: a person's rows, the prices and fixings that bear on them, valued."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple, TypeVar

from projections.net_worth.holdings import (
    Held,
    Holdings,
    Money,
    first_currency,
    held_after,
    held_now,
    holdings,
)
from projections.net_worth.rates import Rates
from projections.net_worth.tables import (
    ACCOUNTS,
    BALANCES,
    ENTRIES,
    FIXINGS,
    POSITIONS,
    PRICES,
    TABLES,
    Account,
    Balance,
    Price,
)
from projections.net_worth.valuation import value
from projections.postgres import queries
from projections.postgres.pool import Connection, translated
from projections.postgres.reading import one_state
from projections.postgres.statements import row_of
from projections.tables import Row, Table
from schemas.instants import END

R = TypeVar("R", bound=Row)

#: For somebody who has nothing, prefers nothing and asks for nothing: the bank's home currency.
HOME_CURRENCY = "INR"

_sql = queries.load("projections.net_worth")


async def net_worth(
    connection: Connection,
    user_id: str,
    currency: str | None = None,
    as_of: date | None = None,
    *,
    preferred: str | None = None,
) -> dict[str, Any]:
    """What a person owns and owes: the JSON of contract §6.

    Args:
        connection: one that is in no transaction; all is read from one snapshot.
        user_id: the person; somebody unknown has nothing.
        currency: the one asked for, an active ISO 4217 code.
        as_of: a day; the answer is what the events up to its end in UTC (by event time) make.
            None takes all events there are and says today's date.
        preferred: the person's own base currency, if they chose one.

    Raises:
        Invalid: the currency is not an active ISO 4217 code.
        Unavailable: the database does not answer.
    """
    known = await (_now(connection, user_id) if as_of is None else _at(connection, user_id, as_of))
    first = first_currency(known.accounts, known.balances)
    base = currency or preferred or first or HOME_CURRENCY
    lines = _holdings(known.accounts, known.money, known.held, as_of)
    figures = value(lines, {price.symbol: price for price in known.prices}, known.rates, base)
    head = {"userId": user_id, "currency": base, "asOf": known.day.isoformat()}
    return head | figures


class _Known(NamedTuple):
    """What an answer is made of, all of one moment."""

    accounts: list[Account]
    balances: list[Balance]
    money: Money
    held: Held
    prices: list[Price]
    rates: Rates
    day: date


async def _now(connection: Connection, user_id: str) -> _Known:
    async with translated():
        found = await connection.fetchrow(_sql["now"], user_id)
    balances = _of(BALANCES, found["balances"])
    return _Known(
        accounts=_of(ACCOUNTS, found["accounts"]),
        balances=balances,
        money={(row.platform, row.account, row.currency): row.amount for row in balances},
        held=held_now(_of(POSITIONS, found["positions"])),
        prices=_of(PRICES, found["prices"]),
        rates=Rates(_of(FIXINGS, found["fixings"])),
        day=found["today"],
    )


async def _at(connection: Connection, user_id: str, day: date) -> _Known:
    async with one_state(connection, TABLES):
        accounts = await _rows(connection, ACCOUNTS, "accounts", user_id)
        balances = await _rows(connection, BALANCES, "balances", user_id)
        moved = await connection.fetch(_sql["balances_at"], user_id, day)
        entries = await _rows(connection, ENTRIES, "entries_before", user_id, _end(day))
        held = held_after(entries)
        symbols = sorted({symbol for _, symbol in held})
        prices = await _rows(connection, PRICES, "prices", symbols, day) if symbols else []
        rates = Rates(await _rows(connection, FIXINGS, "fixings_at", day))
    money = {(row["platform"], row["account"], row["currency"]): row["amount"] for row in moved}
    return _Known(accounts, balances, money, held, prices, rates, day)


async def owners(connection: Connection, accounts: Sequence[str]) -> dict[str, set[str]]:
    """The people who have opened these accounts, by account; unknown accounts are left out."""
    found: dict[str, set[str]] = {}
    async with translated():
        for row in await connection.fetch(_sql["owners"], list(accounts)):
            found.setdefault(row["account"], set()).add(row["user_id"])
    return found


def _holdings(
    accounts: Sequence[Account], money: Money, held: Held, as_of: date | None
) -> Holdings:
    return holdings(accounts, money, held, None if as_of is None else _end(as_of))


def _end(day: date) -> datetime:
    """The first instant after a day, in UTC; no event happens later than ``END``."""
    if day >= END.date():
        return END
    return datetime.combine(day, time(), UTC) + timedelta(days=1)


async def _rows(connection: Connection, table: Table[R], name: str, *arguments: Any) -> list[R]:
    return _of(table, await connection.fetch(_sql[name], *arguments))


def _of(table: Table[R], records: Sequence[Any]) -> list[R]:
    return [row_of(table, record) for record in records]  # type: ignore[misc]

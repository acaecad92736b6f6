"""The value of holdings in one currency: pure, exact, rounded once when shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from projections.net_worth import exact
from projections.net_worth.exact import ZERO, Fraction
from projections.net_worth.holdings import Holdings, MoneyLine, PositionLine
from projections.net_worth.rates import Rates
from projections.net_worth.tables import Price
from schemas.instants import rfc3339


def value(
    holdings: Holdings, prices: Mapping[str, Price], rates: Rates, currency: str
) -> dict[str, Any]:
    """The figures of contract §6 in ``currency``: totals, breakdowns, lines, what is missing.

    Totals are sums of exact values, rounded once: they may differ in the last digit from the sum
    of the rounded lines. A line without a price or a rate is in no total. A position at zero is
    worth zero, whatever is known of its price, and counts in no breakdown.
    """
    sums = _Sums(rates, currency)
    accounts = [_account(line, sums) for line in holdings.money]
    positions = [_position(line, prices.get(line.symbol), sums) for line in holdings.positions]
    return {
        "currency": currency,
        "netWorth": sums.shown(sums.assets - sums.liabilities),
        "assets": sums.shown(sums.assets),
        "liabilities": sums.shown(sums.liabilities),
        "byCategory": sums.by_name(sums.by_category),
        "byPlatform": sums.by_name(sums.by_platform),
        "byCurrency": sums.by_currency(),
        "accounts": accounts,
        "positions": positions,
        "missing": sums.missing(),
    }


class _Sums:
    """What the lines add up to."""

    def __init__(self, rates: Rates, currency: str) -> None:
        self._rates = rates
        self._currency = currency
        self._native: dict[str, Fraction] = defaultdict(Fraction)
        self._missing_rates: set[tuple[str, str]] = set()
        self._missing_prices: set[str] = set()
        self.assets = ZERO
        self.liabilities = ZERO
        self.by_category: dict[str, Fraction] = defaultdict(Fraction)
        self.by_platform: dict[str, Fraction] = defaultdict(Fraction)

    def add(
        self, line: MoneyLine | PositionLine, amount: Fraction, currency: str
    ) -> Fraction | None:
        """Count a line worth so much in ``currency``; returns its value, None without a rate."""
        self._native[currency] += amount
        worth = self.converted(amount, currency, self._currency)
        if worth is None:
            return None
        if worth < 0:
            self.liabilities -= worth
        else:
            self.assets += worth
        self.by_category[line.category] += worth
        self.by_platform[line.platform] += worth
        return worth

    def converted(self, amount: Fraction, base: str, quote: str) -> Fraction | None:
        """The amount in another currency; None, and listed as missing, without a rate."""
        rate = self._rates.between(base, quote)
        if rate is None:
            self._missing_rates.add((base, quote))
            return None
        return amount * rate

    def lacks_price(self, symbol: str) -> None:
        self._missing_prices.add(symbol)

    def shown(self, worth: Fraction | None) -> str | None:
        """A value in the answer's currency."""
        return _shown(worth, self._currency)

    def by_name(self, worths: Mapping[str, Fraction]) -> dict[str, str | None]:
        return {name: self.shown(worths[name]) for name in sorted(worths)}

    def by_currency(self) -> list[dict[str, Any]]:
        lines = []
        for currency, native in sorted(self._native.items()):
            worth = self.converted(native, currency, self._currency)
            shown = exact.money(native, currency)
            lines.append({"currency": currency, "native": shown, "value": self.shown(worth)})
        return lines

    def missing(self) -> list[dict[str, str]]:
        rates = [
            {"kind": "fx", "base": base, "quote": quote}
            for base, quote in sorted(self._missing_rates)
        ]
        return rates + [
            {"kind": "price", "symbol": symbol} for symbol in sorted(self._missing_prices)
        ]


def _account(line: MoneyLine, sums: _Sums) -> dict[str, Any]:
    worth = sums.add(line, line.balance, line.currency)
    return {
        "account": line.account,
        "platform": line.platform,
        "kind": line.kind,
        "category": line.category,
        "name": line.name,
        "balance": {
            "amount": exact.money(line.balance, line.currency),
            "currency": line.currency,
        },
        "value": sums.shown(worth),
    }


def _position(line: PositionLine, price: Price | None, sums: _Sums) -> dict[str, Any]:
    """A line in the currency of its trades; a price in another one is shown converted."""
    unit_price = market = worth = None
    if price is not None and price.currency == line.currency:
        unit_price = Fraction(price.price)
    elif price is not None and line.quantity:
        unit_price = sums.converted(Fraction(price.price), price.currency, line.currency)
    if not line.quantity:
        market = worth = ZERO
    elif price is None:
        sums.lacks_price(line.symbol)
    else:
        worth = sums.add(line, line.quantity * Fraction(price.price), price.currency)
        market = None if unit_price is None else line.quantity * unit_price
    return {
        "account": line.account,
        "symbol": line.symbol,
        "instrument": line.instrument,
        "category": line.category,
        "quantity": exact.unit(line.quantity),
        "averageCost": exact.unit(line.cost / line.quantity if line.quantity else ZERO),
        "price": _shown_price(line, price, unit_price),
        "priceTime": None if price is None else rfc3339(price.time),
        "currency": line.currency,
        "marketValue": _shown(market, line.currency),
        "value": sums.shown(worth),
        "unrealised": _shown(None if market is None else market - line.cost, line.currency),
        "realised": exact.money(line.realised, line.currency),
        "dividends": exact.money(line.dividends, line.currency),
        "fees": exact.money(line.fees, line.currency),
    }


def _shown_price(line: PositionLine, price: Price | None, converted: Fraction | None) -> str | None:
    """As it was ticked, with its own decimals, unless it had to be converted."""
    if price is not None and price.currency == line.currency:
        return f"{price.price.copy_abs():f}"
    return None if converted is None else exact.unit(converted)


def _shown(amount: Fraction | None, currency: str) -> str | None:
    return None if amount is None else exact.money(amount, currency)

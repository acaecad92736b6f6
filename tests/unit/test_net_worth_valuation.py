"""Values: rates and crosses, what is missing, sums that are rounded once."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from projections.net_worth.holdings import Holdings, MoneyLine, PositionLine
from projections.net_worth.rates import Rates
from projections.net_worth.tables import Fixing, Price
from projections.net_worth.valuation import value
from tests.builders import T0, at


def fixing(base: str, quote: str, rate: str, time: datetime = T0) -> Fixing:
    return Fixing(base, quote, Decimal(rate), time, 0)


def money(amount: str, currency: str = "INR", account: str = "acc") -> MoneyLine:
    return MoneyLine("bfc", account, "savings", "savings", "Name", Fraction(amount), currency)


def position(quantity: str = "10", cost: str = "100", currency: str = "USD") -> PositionLine:
    zero = Fraction(0)
    figures = (Fraction(quantity), Fraction(cost), zero, zero, zero)
    return PositionLine("vy_1", "AAPL", "equity", "equities", currency, *figures)


def price(amount: str = "20", currency: str = "USD") -> dict[str, Price]:
    return {"AAPL": Price("AAPL", T0.date(), Decimal(amount), currency, T0, 0)}


def test_a_direct_rate_comes_before_a_newer_inverse() -> None:
    rates = Rates([fixing("USD", "INR", "80"), fixing("INR", "USD", "0.01", at(10))])
    assert rates.between("USD", "INR") == 80
    assert rates.between("INR", "USD") == Fraction(1, 100)


def test_an_inverse_is_exact() -> None:
    assert Rates([fixing("EUR", "INR", "3")]).between("INR", "EUR") == Fraction(1, 3)


def test_a_cross_goes_through_the_freshest_common_currency() -> None:
    fixings = [
        fixing("EUR", "USD", "1.25", at(1)),
        fixing("EUR", "INR", "100", at(9)),
        fixing("USD", "GBP", "0.5", at(5)),
        fixing("INR", "GBP", "0.01", at(5)),
    ]
    assert Rates(fixings[:2]).between("USD", "INR") == 80
    assert Rates(fixings).between("USD", "INR") == 50
    assert Rates([*fixings, fixing("USD", "INR", "77")]).between("USD", "INR") == 77


def test_of_equally_fresh_crosses_the_first_by_name_counts() -> None:
    fixings = [
        fixing("EUR", "USD", "1.25"),
        fixing("EUR", "INR", "100"),
        fixing("AUD", "USD", "1"),
        fixing("AUD", "INR", "60"),
    ]
    assert Rates(fixings).between("USD", "INR") == 60


def test_two_steps_are_not_a_cross() -> None:
    chain = [fixing("A", "B", "1"), fixing("B", "C", "1"), fixing("C", "D", "1")]
    assert Rates(chain).between("A", "D") is None
    assert Rates([]).between("XYZ", "XYZ") == 1


def test_what_has_no_rate_is_left_out_and_listed_never_taken_as_one_or_zero() -> None:
    holdings = Holdings((money("100"), money("7", "MNT", "mn")), ())
    figures = value(holdings, {}, Rates([]), "INR")
    assert figures["netWorth"] == figures["assets"] == "100.00"
    assert figures["missing"] == [{"kind": "fx", "base": "MNT", "quote": "INR"}]
    assert [line["value"] for line in figures["accounts"]] == ["100.00", None]
    assert figures["byCurrency"][1] == {"currency": "MNT", "native": "7.00", "value": None}


def test_what_has_no_price_is_left_out_and_listed() -> None:
    figures = value(Holdings((), (position(),)), {}, Rates([]), "USD")
    (line,) = figures["positions"]
    blank = ("price", "priceTime", "marketValue", "value", "unrealised")
    assert {line[name] for name in blank} == {None}
    assert line["averageCost"] == "10"
    assert figures["missing"] == [{"kind": "price", "symbol": "AAPL"}]
    assert figures["byCategory"] == figures["byPlatform"] == {}


def test_a_position_at_zero_needs_no_price_and_no_rate() -> None:
    figures = value(Holdings((), (position("0", "0"),)), {}, Rates([]), "INR")
    (line,) = figures["positions"]
    assert (line["quantity"], line["averageCost"], line["marketValue"]) == ("0", "0", "0.00")
    assert (line["value"], line["unrealised"]) == ("0.00", "0.00")
    assert figures["missing"] == []


def test_a_price_in_another_currency_is_converted_for_its_line() -> None:
    rates = Rates([fixing("EUR", "USD", "1.5"), fixing("EUR", "INR", "90")])
    figures = value(Holdings((), (position(),)), price("20", "EUR"), rates, "INR")
    (line,) = figures["positions"]
    assert (line["price"], line["marketValue"], line["unrealised"]) == ("30", "300.00", "200.00")
    assert line["value"] == "18000.00"


def test_totals_are_exact_sums_rounded_once() -> None:
    holdings = Holdings((money("0.004", account="a"), money("0.004", account="b")), ())
    figures = value(holdings, {}, Rates([]), "INR")
    assert [line["value"] for line in figures["accounts"]] == ["0.00", "0.00"]
    assert figures["netWorth"] == "0.01"


def test_liabilities_are_the_negative_lines_and_positive() -> None:
    holdings = Holdings((money("-65432.11", account="loan"), money("100", account="a")), ())
    figures = value(holdings, {}, Rates([]), "INR")
    assert figures["liabilities"] == "65432.11"
    assert figures["assets"] == "100.00"
    assert figures["netWorth"] == "-65332.11"


def test_the_minor_unit_is_the_currencys() -> None:
    rates = Rates([fixing("USD", "JPY", "150.55")])
    figures = value(Holdings((money("1", "USD"),), ()), {}, rates, "JPY")
    assert figures["netWorth"] == "151"
    assert figures["byCurrency"] == [{"currency": "USD", "native": "1.00", "value": "151"}]

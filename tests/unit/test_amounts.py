"""Amounts as the currency's country writes them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from babel.numbers import format_currency

from projections.amounts import locale_of, shown, shown_together
from schemas.numbers import CURRENCIES, minor_units

N = "\u00a0"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("150000", "INR", "₹1,50,000.00"),
        ("123456789012.5", "INR", "₹1,23,45,67,89,012.50"),
        ("999", "INR", "₹999.00"),
        ("150000", "PKR", f"Rs{N}150,000.00"),
        ("150000", "NPR", f"नेरू{N}1,50,000.00"),
        ("150000", "BDT", "1,50,000.00৳"),
        ("150000", "USD", "$150,000.00"),
        ("150000", "AUD", "$150,000.00"),
        ("150000", "EUR", f"150.000,00{N}€"),
        ("150000", "CHF", f"CHF{N}150’000.00"),
        ("150000", "MNT", f"₮{N}150,000.00"),
        ("150000.4", "JPY", "￥150,000"),
        ("0.005", "INR", "₹0.00"),
        ("0.015", "INR", "₹0.02"),
        ("-1", "INR", "-₹1.00"),
        ("-0.001", "INR", "₹0.00"),
    ],
)
def test_amounts_are_shown_as_their_country_writes_them(
    amount: str, currency: str, text: str
) -> None:
    assert shown(Decimal(amount), currency) == text


@pytest.mark.parametrize("currency", sorted(CURRENCIES))
def test_every_currency_is_shown_as_the_locale_library_does(currency: str) -> None:
    decimals = Decimal((0, (1,), -minor_units(currency)))
    amount = Decimal("1234567").quantize(decimals)
    theirs = format_currency(amount, currency, locale=locale_of(currency), currency_digits=True)
    ours = shown(amount, currency)
    if theirs.count("0") == ours.count("0"):  # CLDR knows other minor units for some
        assert ours.replace(N, "") == theirs.replace(N, "")
    assert locale_of(currency).territory


def test_amounts_that_look_alike_get_their_codes() -> None:
    assert shown_together({"USD": Decimal(5), "INR": Decimal(7)}) == "₹7.00 and $5.00"
    together = shown_together({"USD": Decimal(5), "AUD": Decimal(6), "INR": Decimal(7)})
    assert together == "$6.00 AUD, ₹7.00 and $5.00 USD"

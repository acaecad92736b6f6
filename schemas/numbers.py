"""Money and quantities: exact, never float."""

from __future__ import annotations

import re
from decimal import (
    ROUND_HALF_EVEN,
    Clamped,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    Rounded,
    Subnormal,
    Underflow,
)

from schemas import limits
from schemas.currencies import CURRENCIES, MINOR_UNITS
from schemas.errors import Invalid

__all__ = [
    "CURRENCIES",
    "EXACT",
    "STRICT",
    "ZERO",
    "decimal",
    "minor_units",
    "money",
    "plain",
    "round_money",
]

ZERO = Decimal(0)

_TRAPS = [InvalidOperation, DivisionByZero, Overflow, FloatOperation]

#: For all arithmetic. Sums and products of what travels are exact in it; a quotient is rounded half
#: to even at its 100th digit. Use its methods (`EXACT.multiply(a, b)`) or `localcontext(EXACT)`:
#: Python's default context has 28 digits and rounds without a word.
EXACT = Context(
    prec=limits.arithmetic_digits,
    rounding=ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    traps=_TRAPS,
)

#: The same, but whatever would lose a digit raises `decimal.Inexact`: for sums and products.
STRICT = Context(
    prec=limits.arithmetic_digits,
    rounding=ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    traps=[*_TRAPS, Inexact, Underflow, Subnormal],
)
assert not STRICT.traps[Rounded] and not STRICT.traps[Clamped]  # dropping zeros loses nothing

_GRAMMAR = re.compile(
    rf"-?(?:0|[1-9][0-9]{{0,{limits.decimal_integer_digits_max - 1}}})"
    rf"(?:\.[0-9]{{1,{limits.decimal_fraction_digits_max}}})?"
)
#: The grammar of contract §7 as a pattern for JSON Schema.
DECIMAL_PATTERN = rf"^{_GRAMMAR.pattern}$".replace("(?:", "(")
is_decimal = _GRAMMAR.fullmatch
is_plainly_positive = re.compile(_GRAMMAR.pattern.replace("-?(?:0|", "(?:")).fullmatch


def decimal(text: str) -> Decimal:
    """The number that a decimal string means; raises Invalid if it is not of the grammar."""
    if is_decimal(text) is None:
        raise Invalid(
            "must be a decimal string such as 45000.00: up to "
            f"{limits.decimal_integer_digits_max} digits, no leading zeros, up to "
            f"{limits.decimal_fraction_digits_max} decimals, no exponent"
        )
    return Decimal(text)


def minor_units(currency: str) -> int:
    """Decimals of the currency's minor unit; raises Invalid for an unknown code."""
    try:
        return MINOR_UNITS[currency]
    except KeyError:
        raise Invalid(f"{currency!r} is not an active ISO 4217 code") from None


def round_money(amount: Decimal, currency: str) -> Decimal:
    """The amount rounded half to even to the currency's minor unit, with exactly its decimals."""
    return amount.quantize(_UNITS.get(currency) or _unit(currency), context=EXACT)


def _unit(currency: str) -> Decimal:
    return Decimal((0, (1,), -minor_units(currency)))


#: One minor unit of each currency.
_UNITS = {currency: _unit(currency) for currency in CURRENCIES}


def plain(number: Decimal) -> str:
    """The number as text without exponent and without trailing zeros; zero is `0`, never `-0`."""
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def money(amount: Decimal, currency: str) -> str:
    """The amount as shown in JSON: rounded, with the decimals of the currency (`45000.00`)."""
    rounded = round_money(amount, currency)
    return f"{abs(rounded) if rounded == 0 else rounded:f}"

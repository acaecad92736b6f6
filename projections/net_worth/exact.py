"""Exact numbers: fractions in folds and sums, as text in rows, rounded once when shown.

A cost after a partial sale, a quantity after a reverse split, an inverse rate: quotients that no
decimal holds. A rounded one could turn a tie at the last digit the wrong way.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from schemas.numbers import minor_units

if TYPE_CHECKING:
    from fractions import Fraction
else:
    # The standard library's type, compiled: a fifth of its time. It names no types of its own.
    from quicktions import Fraction

__all__ = ["ZERO", "Fraction", "as_text", "bounded", "fixed", "money", "of_text", "unit"]

#: Bits of a denominator. Each partial sale can multiply it by the quantity held, so hundreds of
#: sales that never reach zero would make every further one slower. Past this bound a number is
#: rounded to ``BOUNDED_DECIMALS``: far below every digit that is shown, and still a function of
#: the order of the trades alone.
DENOMINATOR_BITS_MAX = 4096
BOUNDED_DECIMALS = 100

#: Decimals of a quantity or a unit price when shown.
UNIT_DECIMALS = 18

ZERO = Fraction(0)

# Python refuses to print longer integers (3.33 bits make a digit; the rest is for the numerator),
# and what can't be printed can't be kept.
assert sys.int_info.default_max_str_digits > DENOMINATOR_BITS_MAX / 3.3 + 1000


def bounded(number: Fraction) -> Fraction:
    """The number itself, unless its denominator has grown past all use."""
    if number.denominator.bit_length() <= DENOMINATOR_BITS_MAX:
        return number
    return round(number, BOUNDED_DECIMALS)


def as_text(number: Fraction) -> str:
    """The number for a row, exactly: ``12.5`` where a decimal holds it, else ``10/3``."""
    places = _decimals(number.denominator)
    if places is None:
        return str(number)
    return _digits(number.numerator * 10**places // number.denominator, places)


def of_text(text: str) -> Fraction:
    """What ``as_text`` wrote; a third of the time of ``Fraction(text)``."""
    above, slash, below = text.partition("/")
    if slash:
        return Fraction(int(above), int(below))
    whole, _, decimals = text.partition(".")
    return Fraction(int(whole + decimals), 10 ** len(decimals))


def fixed(number: Fraction, places: int) -> str:
    """The number rounded half to even to exactly so many decimals; zero has no sign."""
    denominator = number.denominator
    scaled, rest = divmod(number.numerator * 10**places, denominator)
    if rest and (rest * 2 > denominator or (rest * 2 == denominator and scaled & 1)):
        scaled += 1
    return _digits(scaled, places)


def money(number: Fraction, currency: str) -> str:
    """An amount as shown: rounded to the currency's minor unit."""
    return fixed(number, minor_units(currency))


def unit(number: Fraction) -> str:
    """A quantity or a unit price as shown: up to 18 decimals, no trailing zeros."""
    text = fixed(number, UNIT_DECIMALS).rstrip("0")
    return text.removesuffix(".")


def _decimals(denominator: int) -> int | None:
    """How many decimals hold a fraction with this denominator; None if no number of them does."""
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest > 1:
        rest, remainder = divmod(rest, 5)
        if remainder:
            return None
        fives += 1
    return max(twos, fives)


def _digits(scaled: int, places: int) -> str:
    digits = str(scaled)
    if not places:
        return digits
    if len(digits) <= places + 1:
        # The width of a format counts the sign, which may stand for one of these digits.
        digits = f"{scaled:0{places + 1 + (scaled < 0)}d}"
    return f"{digits[:-places]}.{digits[-places:]}"

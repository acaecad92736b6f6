"""Amounts of money as the currency's country writes them: ₹1,50,000.00."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from babel import Locale, UnknownLocaleError
from babel.languages import get_official_languages
from babel.numbers import get_currency_symbol, get_decimal_symbol, get_group_symbol

from schemas.numbers import round_money

#: A code's first two letters are its country's, except for the euro; Germany is the largest of
#: the countries that share it.
_COUNTRIES = {"EUR": "DE"}

_NO_BREAK = "\u00a0"


@dataclass(frozen=True)
class Style:
    """How a country writes an amount: what stands around the digits and between them."""

    prefix: str
    suffix: str
    group: str
    point: str
    #: Digits of the last group, and of the groups before it.
    primary: int
    secondary: int


def shown(amount: Decimal, currency: str) -> str:
    """The amount rounded to the minor unit, as the currency's country writes it."""
    style = style_of(currency)
    text = f"{abs(round_money(amount, currency)):f}"
    whole, _, fraction = text.partition(".")
    digits = (
        f"{_grouped(whole, style)}{style.point}{fraction}" if fraction else (_grouped(whole, style))
    )
    sign = "-" if amount < 0 and text.strip("0.") else ""
    return f"{sign}{style.prefix}{digits}{style.suffix}"


def shown_together(amounts: Mapping[str, Decimal]) -> str:
    """One amount for each currency; the code beside those that look alike ($5.00 AUD)."""
    looks = [(style_of(currency).prefix, style_of(currency).suffix) for currency in amounts]
    texts = [
        f"{shown(amount, currency)} {currency}"
        if looks.count((style_of(currency).prefix, style_of(currency).suffix)) > 1
        else shown(amount, currency)
        for currency, amount in sorted(amounts.items())
    ]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


@cache
def style_of(currency: str) -> Style:
    """The style of a currency's country, out of the Unicode CLDR by way of Babel."""
    locale = locale_of(currency)
    pattern = locale.currency_formats["standard"]
    symbol = get_currency_symbol(currency, locale=locale)
    prefix = pattern.prefix[0].replace("¤", symbol)
    suffix = pattern.suffix[0].replace("¤", symbol)
    # A letter needs room before a digit (CLDR's alphaNextToNumber): Rs 500, but ₹500.
    if prefix[-1:].isalpha():
        prefix += _NO_BREAK
    if suffix[:1].isalpha():
        suffix = _NO_BREAK + suffix
    return Style(
        prefix=prefix,
        suffix=suffix,
        group=get_group_symbol(locale, numbering_system="latn"),
        point=get_decimal_symbol(locale, numbering_system="latn"),
        primary=pattern.grouping[0],
        secondary=pattern.grouping[1],
    )


@cache
def locale_of(currency: str) -> Locale:
    """The country's English if there is one, for the texts are English, else its own language."""
    country = _COUNTRIES.get(currency, currency[:2])
    languages = ("en", *get_official_languages(country, de_facto=True))
    for language in languages:
        try:
            return Locale.parse(f"{language}_{country}")
        except (UnknownLocaleError, ValueError):
            continue
    return Locale("en")


def _grouped(digits: str, style: Style) -> str:
    if len(digits) <= style.primary:
        return digits
    parts = [digits[-style.primary :]]
    rest = digits[: -style.primary]
    while rest:
        parts.append(rest[-style.secondary :])
        rest = rest[: -style.secondary]
    return style.group.join(reversed(parts))

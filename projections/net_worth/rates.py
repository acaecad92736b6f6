"""Rates between currencies: direct, else the inverse, else a cross through a common currency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from projections.net_worth.exact import Fraction
from projections.net_worth.tables import Fixing


class Rates:
    """The fixings of one moment, and the exact rates that follow from them."""

    def __init__(self, fixings: Iterable[Fixing]) -> None:
        self._fixings = {(fixing.base, fixing.quote): fixing for fixing in fixings}
        self._neighbours: dict[str, set[str]] = defaultdict(set)
        for base, quote in self._fixings:
            self._neighbours[base].add(quote)
            self._neighbours[quote].add(base)
        self._known: dict[tuple[str, str], Fraction | None] = {}

    def between(self, base: str, quote: str) -> Fraction | None:
        """How much of ``quote`` one ``base`` is worth; None if nothing says so."""
        if base == quote:
            return Fraction(1)
        pair = (base, quote)
        if pair not in self._known:
            leg = self._leg(base, quote)
            self._known[pair] = leg[0] if leg else self._cross(base, quote)
        return self._known[pair]

    def _leg(self, base: str, quote: str) -> tuple[Fraction, datetime] | None:
        direct = self._fixings.get((base, quote))
        if direct is not None:
            return Fraction(direct.rate), direct.time
        inverse = self._fixings.get((quote, base))
        if inverse is not None:
            return 1 / Fraction(inverse.rate), inverse.time
        return None

    def _cross(self, base: str, quote: str) -> Fraction | None:
        """Through the common currency whose older leg is the newest; of equals the first by name.

        A cross is as fresh as its older leg.
        """
        common = self._neighbours.get(base, set()) & self._neighbours.get(quote, set())
        best: tuple[datetime, Fraction] | None = None
        for middle in sorted(common - {base, quote}):
            first, second = self._leg(base, middle), self._leg(middle, quote)
            assert first is not None and second is not None, "neighbours have a fixing"
            age = min(first[1], second[1])
            if best is None or age > best[0]:
                best = age, first[0] * second[0]
        return best[1] if best else None

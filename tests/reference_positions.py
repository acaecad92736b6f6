"""One position told a second time: moving average and first in, first out, trade after trade.

A part of ``reference_net_worth``: plain Python from the contract's text, nothing of ours imported.
"""

from __future__ import annotations

from fractions import Fraction


class Holding:
    """One symbol in one account in one currency, trade after trade."""

    def __init__(self, account: str, symbol: str, currency: str) -> None:
        self.account, self.symbol, self.currency = account, symbol, currency
        self.instrument = "unknown"
        self.category = "unknown"
        self.quantity = Fraction(0)
        self.unit_cost = Fraction(0)
        self.realised = Fraction(0)
        self.realised_by_lots = Fraction(0)
        self.fees = Fraction(0)
        self.dividends = Fraction(0)
        #: [signed quantity, unit cost], the oldest first.
        self.lots: list[list[Fraction]] = []

    def trade(self, signed: Fraction, price: Fraction) -> None:
        """Close what is held on the other side first; what is left opens or adds."""
        closing = Fraction(0)
        if self.quantity * signed < 0:
            closing = min(abs(self.quantity), abs(signed))
        side = 1 if self.quantity > 0 else -1
        if closing:
            self.realised += closing * (price - self.unit_cost) * side
            self.quantity -= closing * side
            self._close_lots(closing, price, side)
            if self.quantity == 0:
                self.unit_cost = Fraction(0)
        opening = abs(signed) - closing
        if opening:
            paid = abs(self.quantity) * self.unit_cost + opening * price
            self.unit_cost = paid / (abs(self.quantity) + opening)
            self.quantity += opening if signed > 0 else -opening
            self.lots.append([opening if signed > 0 else -opening, price])

    def _close_lots(self, closing: Fraction, price: Fraction, side: int) -> None:
        while closing:
            taken = min(closing, abs(self.lots[0][0]))
            self.realised_by_lots += taken * (price - self.lots[0][1]) * side
            self.lots[0][0] -= taken * side
            closing -= taken
            if self.lots[0][0] == 0:
                del self.lots[0]

    def split(self, ratio: Fraction) -> None:
        self.quantity *= ratio
        self.unit_cost /= ratio
        self.lots = [[quantity * ratio, cost / ratio] for quantity, cost in self.lots]

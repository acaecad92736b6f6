"""People looking at the market, and those who then trade."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from streams.simulate.engine import SECOND, Cause, Engine
from streams.simulate.people import CENT, Person
from streams.simulate.visits import Visits
from streams.simulate.vyomo import Order, TradingAccount, Vyomo

ORDERS_AFTER_LOOK = 0.42
REJECTED, CANCELLED, LIMITED = 0.03, 0.04, 0.3
SHARE_STEP = Decimal("0.0001")
"""Regular savers buy fractions of a share."""

STATEMENT_WRONG = 0.01
"""Statements that name one share too many: what conflict detection is for."""


class Trading:
    """The trading funnel: view the market, place an order, have it confirmed and filled."""

    def __init__(self, engine: Engine, vyomo: Vyomo, visits: Visits) -> None:
        self._engine = engine
        self._vyomo = vyomo
        self._visits = visits

    def look(self, person: Person) -> None:
        """A look at one share, and perhaps an order a little later."""
        rng = person.rng
        if not self._vyomo.prices:
            return
        symbol = rng.choice(sorted(self._vyomo.prices))
        visit = self._visits.begin(person.platform, person.user)
        self._visits.step(visit, "view_market", f"/market/{symbol}", "market", symbol=symbol)
        account = person.trading
        if account is not None and self._vyomo.trading and rng.random() < ORDERS_AFTER_LOOK:
            self._engine.after(rng.randint(10, 240) * SECOND, self._order, person, account, symbol)

    def _order(self, person: Person, account: TradingAccount, symbol: str) -> None:
        if not self._vyomo.trading:
            return
        rng, price = person.rng, self._vyomo.prices[symbol]
        held = account.shares.get(symbol, Decimal(0))
        side, quantity = "buy", Decimal(0)
        if held < 0:
            quantity = -held
        elif held > 0 and rng.random() < 0.45:
            side = "sell"
            quantity = min(_part(held, rng.choice((25, 50, 100))), account.sellable(symbol))
        elif account.short_allowed and rng.random() < 0.2:
            side = "sell"
            quantity = Decimal(rng.randint(1, 5))
        else:
            quantity = _affordable(account, price, rng.randint(4, 14))
        limit = None
        if rng.random() < LIMITED:
            away = Decimal(rng.randint(2, 15)) / 1000
            limit = (price * (1 - away if side == "buy" else 1 + away)).quantize(CENT)
        self._place(person, account, symbol, side, quantity, limit)

    def _place(
        self,
        person: Person,
        account: TradingAccount,
        symbol: str,
        side: str,
        quantity: Decimal,
        limit: Decimal | None,
    ) -> None:
        placed = self._vyomo.place(account, symbol, side, quantity, limit)
        if placed is not None:
            self._engine.after(400, self._answer, person, *placed)

    def _answer(self, person: Person, order: Order, cause: Cause) -> None:
        luck = person.rng.random()
        if luck < REJECTED:
            self._vyomo.reject(order, cause)
        elif luck < REJECTED + CANCELLED:
            self._engine.after(5 * SECOND, self._vyomo.cancel, order, cause)
        else:
            self._vyomo.confirm(order, cause)

    def invest(self, person: Person) -> None:
        """The regular saver's purchase for a fixed sum, whatever it buys."""
        account = person.trading
        if account is None or not self._vyomo.trading:
            return
        symbol = person.rng.choice(sorted(self._vyomo.prices))
        spend = account.buying_power() * person.rng.randint(20, 60) / 100
        quantity = (spend / self._vyomo.prices[symbol]).quantize(SHARE_STEP, ROUND_DOWN)
        self._place(person, account, symbol, "buy", quantity, None)

    def statement(self, person: Person) -> None:
        """The month's statement of all positions."""
        if person.trading is not None:
            wrong = person.rng.random() < STATEMENT_WRONG
            self._vyomo.report(person.trading, Decimal(int(wrong)))


def _part(held: Decimal, per_cent: int) -> Decimal:
    """That share of what is held, in whole shares where it can be."""
    part = held * per_cent / 100
    whole = part.quantize(Decimal(1), ROUND_DOWN)
    return whole if whole else part.quantize(SHARE_STEP, ROUND_DOWN)


def _affordable(account: TradingAccount, price: Decimal, per_cent: int) -> Decimal:
    """Whole shares for that share of the buying power."""
    spend = account.buying_power() * per_cent / 100
    return (spend / price).quantize(Decimal(1), ROUND_DOWN)

"""Vyomo: orders, trades, dividends, splits and statements at real prices."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from streams.simulate.bank import Bank, BankAccount, Posting
from streams.simulate.engine import Cause, Engine
from streams.simulate.market import QUOTE_CURRENCY, VENUE, Tick

ORDERS, LEDGER, PRICES = "/vyomo/orders", "/vyomo/ledger", "/vyomo/market-data"
CENT = Decimal("0.01")
FEE_MIN = Decimal("0.35")
FEE_SHARE = Decimal("0.0005")
"""Five basis points of the trade, as a discount broker takes."""


@dataclass(slots=True)
class TradingAccount:
    """One trading account in US dollars.

    `cash` is None when the account settles with `bank`; `shares` holds signed quantities;
    `offered` what open sell orders already promise.
    """

    account: str
    user: str
    cash: Decimal | None
    bank: BankAccount | None
    short_allowed: bool
    shares: dict[str, Decimal] = field(default_factory=dict)
    offered: dict[str, Decimal] = field(default_factory=dict)
    sequence: int = 1
    trades: int = 0

    def sellable(self, symbol: str) -> Decimal:
        """What is held and not yet promised by an open order."""
        held = self.shares.get(symbol, Decimal(0))
        return held - self.offered.get(symbol, Decimal(0))

    def buying_power(self) -> Decimal:
        """US dollars that a purchase may use."""
        if self.cash is not None:
            return self.cash
        return self.bank.balance - self.bank.floor if self.bank else Decimal(0)


@dataclass(slots=True)
class Order:
    """An order on its way. `limit` is None for a market order."""

    order: str
    account: TradingAccount
    symbol: str
    side: str
    quantity: Decimal
    limit: Decimal | None

    def fields(self) -> dict[str, Any]:
        """The event's data."""
        data = {
            "order": self.order,
            "symbol": self.symbol,
            "side": self.side,
            "kind": "market" if self.limit is None else "limit",
            "quantity": str(self.quantity),
            "account": self.account.account,
        }
        if self.limit is not None:
            data["limitPrice"] = str(self.limit)
        return data


class Vyomo:
    """The platform: its accounts, its order book, and the last price of each share."""

    def __init__(self, engine: Engine, bank: Bank) -> None:
        self._engine = engine
        self._bank = bank
        self._orders = 0
        self._book: dict[str, list[tuple[Order, Cause]]] = {}
        self.accounts: list[TradingAccount] = []
        self.prices: dict[str, Decimal] = {}
        self.trading = False

    def open(self, account: TradingAccount, name: str, country: str) -> None:
        """The trading account exists from now on."""
        self.accounts.append(account)
        data = {
            "account": account.account,
            "kind": "trading",
            "currency": QUOTE_CURRENCY,
            "name": name,
            "institution": "Vyomo",
            "country": country,
            "holdsCash": account.cash is not None,
            "openingBalance": str(account.cash or Decimal(0)),
        }
        self._say("vyomo.account.opened.v1", account, data, None)

    def place(
        self,
        account: TradingAccount,
        symbol: str,
        side: str,
        quantity: Decimal,
        limit: Decimal | None = None,
    ) -> tuple[Order, Cause] | None:
        """An order is placed; None when nobody would accept it (nothing to sell, no quantity)."""
        if quantity <= 0:
            return None
        if side == "sell" and not account.short_allowed and account.sellable(symbol) < quantity:
            return None
        self._orders += 1
        order = Order(f"ord_{self._orders}", account, symbol, side, quantity, limit)
        if side == "sell":
            account.offered[symbol] = account.offered.get(symbol, Decimal(0)) + quantity
        return order, self._say_order("placed", order, None)

    def confirm(self, order: Order, cause: Cause) -> None:
        """The exchange has it: a market order is filled at once, a limit order waits."""
        confirmed = self._say_order("confirmed", order, cause)
        if order.limit is None:
            self._engine.after(350, self._fill, order, confirmed)
        else:
            self._book.setdefault(order.symbol, []).append((order, confirmed))

    def reject(self, order: Order, cause: Cause) -> None:
        """The exchange does not take it."""
        self._withdraw(order)
        self._say_order("rejected", order, cause)

    def cancel(self, order: Order, cause: Cause) -> None:
        """The person, or the end of the day, takes the order back."""
        self._withdraw(order)
        self._say_order("cancelled", order, cause)

    def tick(self, tick: Tick) -> None:
        """A new price; limit orders that it reaches are filled at it."""
        self.prices[tick.symbol] = tick.price
        data = {
            "symbol": tick.symbol,
            "price": str(tick.price),
            "currency": QUOTE_CURRENCY,
            "venue": VENUE,
        }
        self._engine.say("market.price.ticked.v1", PRICES, data, subject=tick.symbol)
        waiting = self._book.get(tick.symbol)
        if waiting:
            reached = [entry for entry in waiting if _reached(entry[0], tick.price)]
            self._book[tick.symbol] = [entry for entry in waiting if entry not in reached]
            for order, cause in reached:
                self._fill(order, cause)

    def open_day(self) -> None:
        """Trading begins."""
        self.trading = True

    def close_day(self) -> None:
        """Trading ends; day orders that found no price are cancelled."""
        self.trading = False
        for waiting in self._book.values():
            for order, cause in waiting:
                self.cancel(order, cause)
        self._book.clear()

    def pay_dividend(self, symbol: str, per_share: Decimal) -> None:
        """Every holder gets it, in cash or on the bank account that the shares settle with."""
        for account in self.accounts:
            held = account.shares.get(symbol, Decimal(0))
            amount = (held * per_share).quantize(CENT, ROUND_HALF_EVEN)
            if amount <= 0:
                continue
            data = {
                "account": account.account,
                "symbol": symbol,
                "amount": str(amount),
                "currency": QUOTE_CURRENCY,
            }
            cause = self._say("vyomo.dividend.paid.v1", account, data, None)
            self._move(account, amount, "dividend", f"Dividend {symbol}", cause)

    def split(self, symbol: str, ratio: int) -> None:
        """One share becomes `ratio` shares in every account that holds (or owes) some."""
        for account in self.accounts:
            held = account.shares.get(symbol, Decimal(0))
            if held:
                account.shares[symbol] = held * ratio
                data = {
                    "account": account.account,
                    "symbol": symbol,
                    "numerator": ratio,
                    "denominator": 1,
                }
                self._say("vyomo.split.applied.v1", account, data, None)

    def report(self, account: TradingAccount, wrong_by: Decimal) -> None:
        """The platform's own statement; `wrong_by` shares too many, as platforms sometimes do."""
        for symbol, held in account.shares.items():
            if not held:
                continue
            data = {
                "account": account.account,
                "symbol": symbol,
                "quantity": str(held + wrong_by),
                "currency": QUOTE_CURRENCY,
            }
            wrong_by = Decimal(0)
            self._say("vyomo.position.reported.v1", account, data, None)

    def _fill(self, order: Order, cause: Cause) -> None:
        account, symbol, quantity = order.account, order.symbol, order.quantity
        price = self.prices[symbol]
        value = (quantity * price).quantize(CENT, ROUND_HALF_EVEN)
        fee = max(FEE_MIN, (value * FEE_SHARE).quantize(CENT, ROUND_HALF_EVEN))
        buys = order.side == "buy"
        if buys and account.buying_power() < value + fee:
            self.cancel(order, cause)
            return
        self._withdraw(order)
        held = account.shares.get(symbol, Decimal(0))
        account.shares[symbol] = held + quantity if buys else held - quantity
        account.trades += 1
        data = {
            "trade": f"trd_{account.account[3:]}_{account.trades}",
            "order": order.order,
            "account": account.account,
            "symbol": symbol,
            "instrument": "equity",
            "side": order.side,
            "quantity": str(quantity),
            "price": str(price),
            "currency": QUOTE_CURRENCY,
            "fee": str(fee),
        }
        executed = self._say("vyomo.trade.executed.v1", account, data, cause)
        exact = quantity * price
        if account.cash is not None:
            account.cash += -exact - fee if buys else exact - fee
        else:
            paid = -value - fee if buys else value - fee
            self._move(account, paid, "investment", f"{order.side} {symbol}", executed)

    def _move(
        self, account: TradingAccount, amount: Decimal, category: str, text: str, cause: Cause
    ) -> None:
        """Cash in the account itself, or a posting on the bank account that it settles with."""
        if account.cash is not None:
            account.cash += amount
        elif account.bank is not None:
            posting = Posting(category=category, counterparty="Vyomo", description=text)
            if amount > 0:
                self._bank.credit(account.bank, amount, posting, cause)
            elif amount < 0:
                self._bank.debit(account.bank, -amount, posting, cause)

    def _withdraw(self, order: Order) -> None:
        if order.side == "sell":
            order.account.offered[order.symbol] -= order.quantity

    def _say(
        self, kind: str, account: TradingAccount, data: dict[str, Any], cause: Cause | None
    ) -> Cause:
        sequence = account.sequence
        account.sequence += 1
        return self._engine.say(
            kind,
            LEDGER,
            data,
            user=account.user,
            subject=account.account,
            sequence=sequence,
            cause=cause,
        )

    def _say_order(self, step: str, order: Order, cause: Cause | None) -> Cause:
        return self._engine.say(
            f"vyomo.order.{step}.v1",
            ORDERS,
            order.fields(),
            user=order.account.user,
            subject=order.order,
            cause=cause,
        )


def _reached(order: Order, price: Decimal) -> bool:
    limit = order.limit
    assert limit is not None
    return price <= limit if order.side == "buy" else price >= limit

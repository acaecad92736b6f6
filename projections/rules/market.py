"""Prices: which lines a tick crosses, decided in the symbol's partition for all people's rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal

from projections.rows import Rows
from projections.rules.execution import derived
from projections.rules.matching import crosses, hold, in_force
from projections.rules.tables import LINES, PRICES, LatestPrice, MarketLine
from projections.tables import Want
from schemas.envelope import Event
from schemas.events.market import PriceTicked


def tick(rows: Rows, event: Event) -> None:
    """Move the symbol's price and hand each crossing to the rule's owner.

    The first tick only sets the side, and one that is older than the newest crosses nothing.
    """
    data: PriceTicked = event.data
    known = rows.get(PRICES, data.symbol)
    if known is not None and event.time < known.time:
        return
    rows.put(PRICES, LatestPrice(data.symbol, data.price, event.time))
    if known is None or known.price == data.price:
        return
    low, high = sorted((known.price, data.price))
    crossed = [
        line
        for line in rows.range(LINES, (data.symbol,), low, high)
        if crosses(line.line, line.waits_above, known.price, data.price)
        and in_force(line.begin, line.until, event)
    ]
    if crossed:
        wire = event.raw_data
        for line in crossed:
            if hold(line.conditions, wire):
                _hand_on(rows, event, line, wire, known)


def _hand_on(
    rows: Rows, event: Event, line: MarketLine, wire: dict[str, object], known: LatestPrice
) -> None:
    data = {
        "rule": line.rule_id,
        "ruleVersion": line.version,
        "symbol": line.symbol,
        "price": wire["price"],
        "previous": f"{known.price:f}",
        "currency": wire["currency"],
        "event": event.id,
    }
    rows.emit(derived("rule.crossed.v1", event, data, line.user_id, line.rule_id))


def lines_wanted(rows: Rows, ticks: Iterable[Event]) -> Iterator[Want]:
    """The lines between all prices of a batch, symbol by symbol: those that it crosses."""
    newest: dict[str, datetime] = {}
    low: dict[str, Decimal] = {}
    high: dict[str, Decimal] = {}
    for event in ticks:
        data: PriceTicked = event.data
        symbol, price = data.symbol, data.price
        if symbol not in newest:
            known = rows.get(PRICES, symbol)
            newest[symbol] = known.time if known else event.time
            low[symbol] = high[symbol] = known.price if known else price
        if event.time >= newest[symbol]:
            newest[symbol] = event.time
            low[symbol] = min(low[symbol], price)
            high[symbol] = max(high[symbol], price)
    for symbol in newest:
        if low[symbol] != high[symbol]:
            yield Want(LINES, (symbol,), low[symbol], high[symbol])

"""What the trades of a symbol add up to, to tell whether a reported position differs."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from projections.notifications.tables import HOLDING_MOVES, HOLDINGS, Holding, HoldingMove
from projections.rows import Rows
from schemas.envelope import Event
from schemas.events.trading import PositionReported, SplitApplied, TradeExecuted
from schemas.limits import decimal_fraction_digits_max
from schemas.numbers import EXACT

#: A split may leave a third of a share; what is reported has at most so many decimals.
_STEP = Decimal((0, (1,), -decimal_fraction_digits_max))


def apply_trade(rows: Rows, event: Event) -> None:
    """Add a trade to what the account holds of the symbol."""
    data: TradeExecuted = event.data
    sign = 1 if data.side == "buy" else -1
    _apply(rows, event, data.account, data.symbol, (EXACT.multiply(data.quantity, sign), 1, 1))


def apply_split(rows: Rows, event: Event) -> None:
    """Multiply what the account holds of the symbol."""
    data: SplitApplied = event.data
    step = (Decimal(0), data.numerator, data.denominator)
    _apply(rows, event, data.account, data.symbol, step)


def held_otherwise(rows: Rows, event: Event) -> Decimal | None:
    """The quantity that the trades add up to if it is not the reported one, else None.

    Those trades count that the log has so far and that happened until the report's time.
    """
    data: PositionReported = event.data
    assert event.user_id is not None
    place = (event.user_id, data.account, data.symbol)
    holding = rows.get(HOLDINGS, *place)
    if holding is None:
        ours = Decimal(0)
    elif event.time >= holding.until:
        ours = holding.quantity
    else:
        ours = _folded(rows.range(HOLDING_MOVES, place, None, event.time))
    difference = EXACT.subtract(ours, data.quantity)
    return ours if abs(difference) >= _STEP else None


def _apply(
    rows: Rows, event: Event, account: str, symbol: str, step: tuple[Decimal, int, int]
) -> None:
    assert event.user_id is not None
    place = (event.user_id, account, symbol)
    move = HoldingMove(*place, event.time, event.position.offset, *step)
    holding = rows.get(HOLDINGS, *place)
    rows.put(HOLDING_MOVES, move)
    if holding is None:
        rows.put(HOLDINGS, Holding(*place, _moved(Decimal(0), move), event.time))
    elif event.time >= holding.until:
        rows.put(HOLDINGS, Holding(*place, _moved(holding.quantity, move), event.time))
    else:
        quantity = _late(rows, holding, move)
        rows.put(HOLDINGS, Holding(*place, quantity, holding.until))


def _late(rows: Rows, holding: Holding, move: HoldingMove) -> Decimal:
    place: tuple[str, str, str] = (move.user_id, move.account, move.symbol)
    after: datetime = move.at
    # Sums commute; only what follows a split, or is one, hangs on the order.
    later = rows.range(HOLDING_MOVES, place, after, None)
    if all(other.numerator == other.denominator for other in later):
        return _moved(holding.quantity, move)
    return _folded(rows.range(HOLDING_MOVES, place, None, None))


def _folded(moves: list[HoldingMove]) -> Decimal:
    quantity = Decimal(0)
    for move in moves:
        quantity = _moved(quantity, move)
    return quantity


def _moved(quantity: Decimal, move: HoldingMove) -> Decimal:
    quantity = EXACT.add(quantity, move.change)
    if move.numerator == move.denominator:
        return quantity
    product = EXACT.multiply(quantity, Decimal(move.numerator))
    return EXACT.divide(product, Decimal(move.denominator))

"""What a position is and what it cost: moving average and FIFO lots, entry after entry."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from msgspec.structs import replace

from projections.net_worth.exact import Fraction, as_text, bounded, of_text
from projections.net_worth.tables import Book, Entry, Lot
from schemas.numbers import EXACT, ZERO, plain

Books = tuple[Book, ...]


def fold(entries: Iterable[Entry]) -> Books:
    """The books that entries leave, given in order of event time and, of one instant, the log."""
    books: Books = ()
    for entry in entries:
        books = add(books, entry)
    return books


def add(books: Books, entry: Entry) -> Books:
    """The books after one more entry: one book for each currency, in their order."""
    if entry.what == "split":
        ratio = Fraction(entry.numerator or 1, entry.denominator or 1)
        return tuple(_split(book, ratio) for book in books)
    assert entry.currency is not None, "trades and dividends have a currency"
    by_currency = {book.currency: book for book in books}
    book = by_currency.get(entry.currency) or Book(entry.currency)
    if entry.what == "trade":
        book = _trade(book, entry)
    else:
        assert entry.amount is not None, "dividends have an amount"
        book = replace(book, dividends=EXACT.add(book.dividends, entry.amount))
    by_currency[entry.currency] = book
    return tuple(by_currency[currency] for currency in sorted(by_currency))


def realised(book: Book) -> Fraction:
    """Gains of what was closed, by moving average, before fees and dividends."""
    return Fraction(book.flow) + of_text(book.cost)


def realised_by_lots(book: Book) -> Fraction:
    """Gains of what was closed, first in first out, before fees and dividends."""
    held = sum((of_text(lot.quantity) * of_text(lot.unit_cost) for lot in book.lots), Fraction(0))
    return Fraction(book.flow) + held


def _trade(book: Book, entry: Entry) -> Book:
    assert entry.quantity is not None and entry.price is not None, "trades have both"
    paid = EXACT.multiply(entry.quantity, entry.price)
    quantity = Fraction(entry.quantity)
    held, cost = of_text(book.quantity), of_text(book.cost)
    after = held + quantity
    # Signs are compared by numerators: products of fractions would be reduced first.
    if held.numerator * quantity.numerator >= 0:
        cost += Fraction(paid)
    elif after.numerator * held.numerator > 0:
        cost = bounded(cost * after / held)
    else:
        # Closed, or turned over: the old cost is forgotten, what is left opens at this price.
        cost = after * Fraction(entry.price)
    return replace(
        book,
        instrument=entry.instrument,
        quantity=as_text(after),
        cost=as_text(cost),
        flow=EXACT.subtract(book.flow, paid),
        fees=EXACT.add(book.fees, entry.fee or ZERO),
        lots=_lots_after(book.lots, quantity, entry, entry.price),
    )


def _lots_after(
    lots: tuple[Lot, ...], quantity: Fraction, entry: Entry, price: Decimal
) -> tuple[Lot, ...]:
    """Close the oldest lots of the other side; what no lot is left for opens a new one."""
    closed = 0
    for lot in lots:
        held = of_text(lot.quantity)
        if not quantity or held.numerator * quantity.numerator > 0:
            break
        left = held + quantity
        if left.numerator * held.numerator > 0:
            return (replace(lot, quantity=as_text(left)), *lots[closed + 1 :])
        quantity = left
        closed += 1
    rest = lots[closed:]
    if not quantity:
        return rest
    return (*rest, Lot(as_text(quantity), plain(price), entry.time, entry.event_id))


def _split(book: Book, ratio: Fraction) -> Book:
    return replace(
        book,
        quantity=as_text(bounded(of_text(book.quantity) * ratio)),
        lots=tuple(
            replace(
                lot,
                quantity=as_text(bounded(of_text(lot.quantity) * ratio)),
                unit_cost=as_text(bounded(of_text(lot.unit_cost) / ratio)),
            )
            for lot in book.lots
        ),
    )

"""What a position cost: moving average, lots, shorts, splits, late trades."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from projections.net_worth import cost, exact
from projections.net_worth.tables import POSITIONS, Book
from schemas.envelope import Draft
from tests.builders import at, draft, trade
from tests.net_worth_memory import answer, folded


def split(numerator: int, denominator: int, **rest: Any) -> Draft:
    data = {"account": "vy_1", "symbol": "AAPL"}
    return draft(
        "vyomo.split.applied", {**data, "numerator": numerator, "denominator": denominator}, **rest
    )


async def book_of(*drafts: Draft) -> Book:
    (position,) = (await folded(drafts)).table(POSITIONS)
    (book,) = position.books
    return book  # type: ignore[no-any-return]


def lots(book: Book) -> list[tuple[str, str]]:
    return [(lot.quantity, lot.unit_cost) for lot in book.lots]


async def test_the_average_moves_with_purchases_and_stays_with_sales() -> None:
    book = await book_of(
        trade("10", "100", time=at(1)),
        trade("10", "200", time=at(2)),
        trade("5", "300", "sell", time=at(3), fee="7"),
    )
    assert (book.quantity, book.cost) == ("15", "2250")
    assert cost.realised(book) == 5 * (300 - 150)
    assert lots(book) == [("5", "100"), ("10", "200")]
    assert cost.realised_by_lots(book) == 5 * (300 - 100)
    assert book.fees == 7


async def test_a_position_at_zero_forgets_its_cost_and_keeps_what_it_realised() -> None:
    book = await book_of(
        trade("3", "100", time=at(1)),
        trade("1", "110", "sell", time=at(2)),
        trade("2", "120", "sell", time=at(3)),
        trade("1", "500", time=at(4)),
    )
    assert (book.quantity, book.cost, lots(book)) == ("1", "500", [("1", "500")])
    assert cost.realised(book) == 50


async def test_a_short_has_negative_quantity_and_cost_and_is_a_liability() -> None:
    shorted = [trade("10", "100", "sell", time=at(1)), trade("4", "90", time=at(2))]
    book = await book_of(*shorted)
    assert (book.quantity, book.cost, lots(book)) == ("-6", "-600", [("-6", "100")])
    assert cost.realised(book) == 40
    store = await folded([*shorted, _tick("110")])
    assert answer(store, currency="USD")["liabilities"] == "660.00"
    assert answer(store, currency="USD")["positions"][0]["unrealised"] == "-60.00"


async def test_a_trade_can_turn_a_position_over() -> None:
    book = await book_of(trade("10", "100", time=at(1)), trade("15", "120", "sell", time=at(2)))
    assert (book.quantity, book.cost, lots(book)) == ("-5", "-600", [("-5", "120")])
    assert cost.realised(book) == cost.realised_by_lots(book) == 200


async def test_a_split_multiplies_the_quantity_and_divides_the_unit_cost() -> None:
    book = await book_of(
        trade("10", "90", time=at(1)), split(3, 1, time=at(2)), trade("10", "30", time=at(3))
    )
    assert (book.quantity, book.cost) == ("40", "1200")
    assert lots(book) == [("30", "30"), ("10", "30")]
    reverse = await book_of(trade("10", "90", time=at(1)), split(1, 3, time=at(2)))
    assert (reverse.quantity, reverse.cost, lots(reverse)) == ("10/3", "900", [("10/3", "270")])


async def test_late_trades_and_splits_are_folded_where_they_belong() -> None:
    drafts = [
        split(2, 1, time=at(20)),
        trade("10", "100", time=at(10)),
        trade("1", "80", "sell", time=at(30)),
        trade("10", "50", time=at(5)),
    ]
    in_time = [drafts[3], drafts[1], drafts[0], drafts[2]]
    assert await book_of(*drafts) == await book_of(*in_time)


async def test_trades_of_one_instant_are_folded_in_the_order_of_the_log() -> None:
    late = [
        trade("1", "10", time=at(9)),
        trade("2", "10", time=at(1)),
        trade("1", "20", time=at(1)),
    ]
    book = await book_of(*late, trade("2", "30", "sell", time=at(1)))
    assert lots(book) == [("1", "20"), ("1", "10")]


async def test_each_currency_that_a_symbol_is_traded_in_has_its_own_book() -> None:
    store = await folded([trade("2", "10", currency="USD"), trade("1", "9", currency="EUR")])
    (position,) = store.table(POSITIONS)
    assert [(book.currency, book.quantity) for book in position.books] == [
        ("EUR", "1"),
        ("USD", "2"),
    ]


async def test_a_reported_position_overwrites_nothing() -> None:
    reported = {"account": "vy_1", "symbol": "AAPL", "quantity": "99", "currency": "USD"}
    book = await book_of(trade("1", "10"), draft("vyomo.position.reported", reported))
    assert book.quantity == "1"


async def test_hundreds_of_partial_sales_stay_small_and_close_exactly() -> None:
    drafts = [trade("997", "101.01", time=at(0))]
    for number in range(600):
        side = "sell" if number % 2 else "buy"
        drafts.append(trade("7.13", "99.07", side, time=at(number + 1)))
    book = await book_of(*drafts)
    assert Fraction(book.cost).denominator.bit_length() <= exact.DENOMINATOR_BITS_MAX
    flat = await book_of(*drafts, trade("997", "50", "sell", time=at(1000)))
    assert (flat.quantity, flat.cost, flat.lots) == ("0", "0", ())
    assert cost.realised(flat) == cost.realised_by_lots(flat)


@pytest.mark.parametrize(
    ("number", "places", "text"),
    [
        (Fraction(5, 1000), 2, "0.00"),
        (Fraction(15, 1000), 2, "0.02"),
        (Fraction(-25, 1000), 2, "-0.02"),
        (Fraction(-1, 1000), 2, "0.00"),
        (Fraction(5, 2), 0, "2"),
        (Fraction(10, 3), 4, "3.3333"),
    ],
)
def test_numbers_are_rounded_half_to_even(number: Fraction, places: int, text: str) -> None:
    assert exact.fixed(number, places) == text


def test_units_have_up_to_18_decimals() -> None:
    assert exact.unit(Fraction(150)) == "150"
    assert exact.unit(Fraction(1, 3)) == "0." + 18 * "3"
    assert exact.unit(Fraction("100.50")) == "100.5"


def _tick(price: str) -> Draft:
    return draft("market.price.ticked", {"symbol": "AAPL", "price": price, "currency": "USD"})

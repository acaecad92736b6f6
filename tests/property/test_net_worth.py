"""Net worth is a function of the log alone, and agrees with an independent reader of it."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from projections.memory import MemoryIndex, MemoryStore, apply_to
from projections.net_worth import cost
from projections.net_worth.exact import as_text, fixed, of_text
from projections.net_worth.projection import NetWorth
from projections.net_worth.tables import POSITIONS
from projections.projector import Projector
from schemas.envelope import Draft
from tests.builders import events_of
from tests.net_worth_memory import (
    DAYS,
    TODAY,
    USERS,
    answer,
    by_partition,
    folded,
    logged,
    rows_of,
    split,
    traded,
    worlds,
)
from tests.reference_net_worth import holdings, net_worth

few = settings(max_examples=60, deadline=None)


@few
@given(worlds, st.sampled_from((None, "INR", "JPY")))
async def test_an_independent_reader_of_the_log_gets_the_same_to_the_last_digit(
    drafts: list[Draft], currency: str | None
) -> None:
    store = await folded(drafts)
    events = logged(drafts)
    for user_id in USERS:
        for day in DAYS:
            as_of = day and day.isoformat()
            expected = net_worth(events, user_id, currency, as_of, today=TODAY)
            assert answer(store, user_id, currency, day) == expected


@few
@given(worlds, st.data())
async def test_no_batch_split_and_no_interleaving_of_topics_changes_a_row(
    drafts: list[Draft], data: st.DataObject
) -> None:
    expected = rows_of(await folded(drafts))
    queues = list(by_partition(events_of(drafts)).values())
    projector, index = Projector(NetWorth(), store := MemoryStore()), MemoryIndex()
    while queues:
        queue = data.draw(st.sampled_from(queues))
        size = data.draw(st.integers(1, len(queue)))
        await apply_to(projector, queue[:size], index)
        del queue[:size]
        queues = [queue for queue in queues if queue]
    assert rows_of(store) == expected


@few
@given(worlds, st.data())
async def test_repeated_events_change_nothing(drafts: list[Draft], data: st.DataObject) -> None:
    repeats = data.draw(st.lists(st.sampled_from(drafts), max_size=10))
    expected = rows_of(await folded(drafts))
    assert rows_of(await folded([*drafts, *repeats])) == expected


def _figures(store: MemoryStore) -> list[dict[str, Any]]:
    return [answer(store, user_id, "INR", day) for user_id in USERS for day in DAYS]


@few
@given(worlds, st.randoms())
async def test_events_that_arrive_late_give_what_they_would_have_given_in_time(
    drafts: list[Draft], random: Any
) -> None:
    # Each at its own instant, since of one instant the log's order decides; and without what the
    # log's order decides, too: postings in the wrong currency and second openings.
    in_time = sorted(drafts, key=lambda made: made.time)
    in_time = [_at(made, number) for number, made in enumerate(in_time)]
    refused = {letter.event_id for letter in (await folded(in_time)).dead_letters.values()}
    in_time = [made for made in in_time if made.id not in refused and _is_plain(made)]
    expected = _figures(await folded(in_time))
    shuffled = list(in_time)
    random.shuffle(shuffled)
    assert _figures(await folded(shuffled)) == expected


def _is_plain(made: Draft) -> bool:
    return made.data.get("currency", "USD") == "USD" or not made.type.startswith("bfc.")


def _at(made: Draft, number: int) -> Draft:
    return replace(made, time=made.time + timedelta(milliseconds=number))


@few
@given(st.lists(st.one_of(traded(), traded(), traded(), split()), min_size=1, max_size=30))
async def test_cost_by_average_and_by_lots_is_what_a_plain_reader_counts(
    drafts: list[Draft],
) -> None:
    store = await folded(drafts)
    for user_id in USERS:
        books = [
            ((row.account, row.symbol, book.currency), book)
            for row in store.table(POSITIONS)
            if row.user_id == user_id
            for book in row.books
        ]
        expected = holdings(logged(drafts), user_id)
        assert [place for place, _ in books] == [
            (h.account, h.symbol, h.currency) for h in expected
        ]
        for (_, book), held in zip(books, expected, strict=True):
            assert of_text(book.quantity) == held.quantity
            assert of_text(book.cost) == held.quantity * held.unit_cost
            assert cost.realised(book) == held.realised
            assert cost.realised_by_lots(book) == held.realised_by_lots
            lots = [[of_text(lot.quantity), of_text(lot.unit_cost)] for lot in book.lots]
            assert lots == held.lots


@given(st.fractions())
def test_numbers_survive_their_text(number: Any) -> None:
    assert of_text(as_text(number)) == number


@given(st.fractions(), st.sampled_from([0, 2, 3, 18]))
def test_numbers_are_rounded_half_to_even_when_shown(number: Fraction, places: int) -> None:
    assert Fraction(fixed(number, places)) == round(number, places)


@given(st.integers(), st.sampled_from([0, 2, 3, 18]))
def test_ties_are_rounded_to_the_even_neighbour(odd: int, places: int) -> None:
    tie = Fraction(2 * odd + 1, 2 * 10**places)
    assert Fraction(fixed(tie, places)) == round(tie, places)

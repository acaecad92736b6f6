"""Properties of what travels: round trips, upcasts, tokens, exact numbers."""

from __future__ import annotations

from decimal import Decimal, localcontext

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.careful import data_errors
from schemas.codec import decode_record, validate_json
from schemas.envelope import Event, wire
from schemas.instants import END, instant, rfc3339
from schemas.numbers import STRICT, decimal, is_decimal, plain
from schemas.position import PositionToken
from schemas.registry import NEWEST, TYPES
from schemas.upcasts import UPCASTS, upcast
from tests.builders import record_of
from tests.strategies import DECIMALS, TIMES, data_of, documents


@pytest.mark.parametrize("step", UPCASTS, ids=str)
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_upcasts_are_total(step: tuple[str, int], data: st.DataObject) -> None:
    name, version = step
    old = data.draw(data_of(TYPES[f"{name}.v{version}"].model))
    before = msgspec.json.encode(old)
    new = upcast(name, version, old)
    assert not data_errors(NEWEST[name], new)
    assert msgspec.json.encode(old) == before, "an upcast leaves what it was given alone"


def test_there_is_an_upcast_from_every_old_version() -> None:
    old = {(each.name, each.version) for each in TYPES.values() if each is not NEWEST[each.name]}
    assert old == set(UPCASTS)
    for name, version in old:
        assert f"{name}.v{version + 1}" in TYPES


@pytest.mark.parametrize("event_type", TYPES.values(), ids=lambda each: each.full_name)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_what_http_takes_is_what_kafka_gives(event_type, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    document = data.draw(documents(event_type))
    made = validate_json(msgspec.json.encode(document), at=END)
    event = decode_record(record_of(made), partitions={event_type.topic.name: 6})
    assert isinstance(event, Event), event.reason
    assert (event.id, event.source, event.time) == (made.id, made.source, made.time)
    assert event.time == instant(document["time"])
    if event.version == event_type.version:
        assert event.raw_data == document["data"]
        # A model made from the same data writes the same data.
        known = event_type.model.model_validate(document["data"], by_alias=True, by_name=False)
        again = event_type.compiled.convert(wire(known))
        assert again == event.data


@given(text=DECIMALS)
def test_decimals_are_kept_to_the_last_digit(text: str) -> None:
    assert f"{decimal(text):f}" == text
    assert Decimal(plain(decimal(text))) == decimal(text)


@given(text=st.text(st.sampled_from("0123456789.-+eE _"), max_size=24))
def test_the_grammar_of_decimals_is_the_contracts(text: str) -> None:
    whole, point, fraction = text.removeprefix("-").partition(".")
    right = (
        whole.isdigit()
        and len(whole) <= 20
        and (whole == "0" or whole[0] != "0")
        and ((fraction.isdigit() and len(fraction) <= 18) if point else not fraction)
        and text.count("-") <= 1
    )
    assert (is_decimal(text) is not None) == right


@given(numbers=st.lists(DECIMALS.map(decimal), max_size=30), scale=DECIMALS.map(decimal))
def test_sums_and_products_lose_nothing(numbers: list[Decimal], scale: Decimal) -> None:
    with localcontext(STRICT):
        total = sum(numbers, Decimal(0))
        assert sum((number * scale for number in numbers), Decimal(0)) == total * scale


@given(text=TIMES)
def test_times_come_back_as_they_were_written(text: str) -> None:
    assert rfc3339(instant(text)) == text


PLACES = st.dictionaries(
    st.tuples(st.from_regex(r"[a-z.-]{1,10}", fullmatch=True), st.integers(0, 99)),
    st.integers(0, 2**62),
    max_size=6,
)


@given(one=PLACES, other=PLACES)
def test_tokens_form_a_lattice(
    one: dict[tuple[str, int], int], other: dict[tuple[str, int], int]
) -> None:
    first, second = PositionToken(one), PositionToken(other)
    both = first.merge(second)
    assert both == second.merge(first)
    assert both.covers(first) and both.covers(second)
    assert PositionToken.parse(first.encode()) == first
    assert first.merge(first) == first
    assert not first.covers(second) or first.merge(second).covers(second)

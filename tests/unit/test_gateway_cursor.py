"""Cursors and seals: whole, bound, and of one text only."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.auth import Principal
from gateway.seals import Seal
from gateway.tail.admission import REASON_BYTES_MAX
from gateway.tail.cursor import NUMBERED_TOPICS, Group, Shape, offsets_of, varint
from gateway.tail.selection import Selection, patterns_of, selection_of, shape_of
from schemas.errors import Invalid
from schemas.registry import TYPES
from schemas.topics import TOPICS, KeyKind, event_topics, partition_of

SEAL = Seal(b"k" * 32)

groups = st.lists(
    st.builds(
        Group,
        st.lists(st.sampled_from(NUMBERED_TOPICS), unique=True).map(tuple),
        st.integers(0, 40),
        st.integers(0, 20),
    ),
    max_size=3,
)


@given(groups, st.data())
@settings(deadline=None)
def test_a_vector_comes_back_as_it_was(groups: list[Group], data: st.DataObject) -> None:
    shape = Shape(groups)
    offsets = [data.draw(st.integers(0, 2**62)) for _ in shape.places]
    payload = shape.payload([varint(offset) for offset in offsets])
    assert dict(offsets_of(payload)) == dict(zip(shape.places, offsets, strict=True))


@given(st.binary(max_size=60))
def test_a_strange_payload_is_refused_or_read(payload: bytes) -> None:
    try:
        offsets_of(payload)
    except Invalid:
        return


@given(st.binary(max_size=80), st.text(max_size=20), st.text(max_size=20))
def test_a_seal_opens_for_its_person_alone(payload: bytes, user: str, other: str) -> None:
    text = SEAL.close(payload, "tail", user)
    assert SEAL.open(text, "tail", user) == payload
    if user != other:
        with pytest.raises(Invalid):
            SEAL.open(text, "tail", other)
    with pytest.raises(Invalid):
        SEAL.open(text, "list", user)
    with pytest.raises(Invalid):
        Seal(b"x" * 32).open(text, "tail", user)


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_changed_text_is_refused(payload: bytes, data: st.DataObject) -> None:
    text = SEAL.close(payload, "u")
    at = data.draw(st.integers(0, len(text) - 1))
    char = data.draw(st.sampled_from("ABCxyz019-_=+/ \n\u00e9"))
    if text[at] != char:
        with pytest.raises(Invalid):
            SEAL.open(text[:at] + char + text[at + 1 :], "u")


def test_what_is_bound_to_can_t_run_together() -> None:
    with pytest.raises(Invalid):
        SEAL.open(SEAL.close(b"p", "ab", "c"), "a", "bc")


def test_every_topic_with_events_has_a_number() -> None:
    assert {topic.name for topic in event_topics()} == set(NUMBERED_TOPICS)


def principal(*scopes: str) -> Principal:
    return Principal("usr_17", "bfc", frozenset(scopes), 2**40)


def test_a_person_s_cursor_fits_into_a_close_frame() -> None:
    shape = shape_of(selection_of(principal(), ()), lambda topic: 6)
    payload = shape.payload([varint(2**20)] * len(shape.places))
    assert len(SEAL.close(payload, "tail", "usr_17")) <= REASON_BYTES_MAX


def test_a_person_follows_their_own_partition_and_all_journeys() -> None:
    shape = shape_of(selection_of(principal(), ()), lambda topic: 6)
    own = partition_of(b"usr_17", 6)
    assert set(shape.places) == {
        *((t.name, own) for t in TOPICS.values() if t.key is KeyKind.USER),
        *(("journeys", partition) for partition in range(6)),
    }


def test_patterns_choose_types_and_so_partitions() -> None:
    def types(text: str, *scopes: str) -> frozenset[str]:
        return selection_of(principal(*scopes), patterns_of([text])).types

    assert types("bfc.transaction.*") == {"bfc.transaction.posted.v1"}
    assert types("bfc.kyc.submitted") == {"bfc.kyc.submitted.v1", "bfc.kyc.submitted.v2"}
    assert types("bfc.kyc.submitted.v1") == {"bfc.kyc.submitted.v1"}
    assert types("*") == frozenset(TYPES)
    assert types("", "operator") == frozenset(TYPES)
    assert "market.price.ticked.v1" not in types("")
    assert types("nothing.like.it") == frozenset()
    selection = selection_of(principal(), patterns_of(["bfc.transaction.*,market.fx.fixed"]))
    shape = shape_of(selection, lambda topic: 6)
    own = ("bfc.ledger", partition_of(b"usr_17", 6))
    assert set(shape.places) == {own, *(("market.fx", partition) for partition in range(6))}


@pytest.mark.parametrize("text", ["a b", "[a]", "a" * 129, ",".join(f"t{n}" for n in range(65))])
def test_a_pattern_is_made_of_few_characters(text: str) -> None:
    with pytest.raises(Invalid):
        patterns_of([text])


def test_nobody_but_operators_and_consumers_sees_all() -> None:
    for scopes, sees_all in (((), False), (("analyst", "producer"), False), (("consumer",), True)):
        selection: Selection = selection_of(principal(*scopes), ())
        assert selection.sees_all is sees_all

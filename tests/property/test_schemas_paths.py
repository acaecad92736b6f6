"""The fast and the careful path say the same of every record, whatever is done to it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.attributes import has_controls
from schemas.codec import RawRecord, Unreadable, decode_batch, decode_carefully
from schemas.envelope import HEADERS, Event
from schemas.fast import is_legible
from schemas.instants import END, milliseconds
from schemas.registry import TYPES, EventType
from schemas.topics import partition_of
from tests.strategies import DECIMALS, JSON_VALUES, TEXTS, documents, key_of_document

PARTITIONS = 6
#: So late that no valid event time is too far ahead of it.
INGESTED = milliseconds(END)

EVENT_TYPES = st.sampled_from(sorted(TYPES.values(), key=lambda each: each.full_name))


def record(event_type: EventType, key: bytes, value: bytes) -> RawRecord:
    partition = partition_of(key, PARTITIONS)
    return RawRecord(event_type.topic.name, partition, 7, key, value, list(HEADERS), INGESTED)


def both(one: RawRecord) -> tuple[Event | Unreadable, Event | Unreadable]:
    fast = decode_batch([one], partitions={one.topic: PARTITIONS})[0]
    return fast, decode_carefully(one, PARTITIONS)


def agree(one: RawRecord) -> Event | Unreadable:
    fast, careful = both(one)
    assert type(fast) is type(careful), (one.value, careful)
    assert fast == careful
    return fast


@pytest.mark.parametrize("event_type", TYPES.values(), ids=lambda each: each.full_name)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_every_valid_event_is_read(event_type: EventType, data: st.DataObject) -> None:
    document = data.draw(documents(event_type))
    key = key_of_document(event_type, document)
    for value in (msgspec.json.encode(document), json.dumps(document, indent=1).encode()):
        event = agree(record(event_type, key, value))
        assert isinstance(event, Event), event.reason
        assert (event.id, event.source) == (document["id"], document["source"])
        if event.version == event.wire_version:
            assert event.raw_data == document["data"]


#: Values that are wrong for most fields, and some that are right.
ODD_VALUES = (
    JSON_VALUES
    | DECIMALS
    | TEXTS
    | st.sampled_from(
        [
            *("", "0", "-0", "0.0", "1e5", "NaN", "Infinity", " 1", "+1", "01", "1.", ".5", "1_0"),
            *("٣", "1" * 21, "0." + "1" * 19, "-1", "XXX", "XAU", "inr", "EUR", "BTC", "x\x00y"),
            *("2026-02-30", "2026-02-12", "20260212", "2026-W07-4", "2026-02-12T09:30:00Z"),
            *(
                "2026-02-12 09:30:00.123Z",
                "2026-W07-4T09:30:00.123Z",
                "2026-02-12T09:30:00.123+24:00",
            ),
            *("1969-12-31T23:59:59.999Z", "2199-12-31T23:59:59.999Z", "2200-01-01T00:00:00.000Z"),
            *(
                "2016-12-31T23:59:60.500Z",
                "2026-02-12T09:30:60.000Z",
                "2026-02-12t09:30:00.9999999z",
            ),
            *("\ud800", "a\nb", "a\x7fb", "a\x85b", "x" * 129, "x" * 4000, "x" * 4001, '"', '":'),
            *(["x" * 4000] * 3, ["x" * 4001], '"' * 4000, '"' * 4001, "\\" * 4000, {"y" * 4001: 1}),
            *(0, 1, -1, 1.0, 3.0, 2**63, True, False, None, [], {}, [None], {"": 0}),
        ]
    )
)

#: U+0000 in JSON; behind an even number of backslashes it is a backslash and a text like it.
NUL_ESCAPED = re.compile(r"(?<!\\)(\\\\)*\\u0000")


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_both_paths_agree_on_altered_events(data: st.DataObject) -> None:
    event_type = data.draw(EVENT_TYPES)
    document = data.draw(documents(event_type))
    key = key_of_document(event_type, document)
    where: dict[str, Any] = data.draw(st.sampled_from([document, document["data"]]))
    name = data.draw(st.sampled_from([*where, "unknown", "data_base64", ""]))
    if data.draw(st.booleans()):
        where[name] = data.draw(ODD_VALUES)
    else:
        where.pop(name, None)
    text = json.dumps(document, ensure_ascii=data.draw(st.booleans()))
    value = text.encode("utf-8", "surrogatepass")
    if isinstance(agree(record(event_type, key, value)), Event) and document.get("data"):
        assert NUL_ESCAPED.search(text) is None


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_both_paths_agree_on_altered_texts(data: st.DataObject) -> None:
    event_type = data.draw(EVENT_TYPES)
    document = data.draw(documents(event_type))
    key = key_of_document(event_type, document)
    value = msgspec.json.encode(document)
    at = data.draw(st.integers(0, len(value)))
    until = data.draw(st.integers(at, min(len(value), at + 6)))
    put = data.draw(
        st.sampled_from(
            [
                *(b"", b" ", b'"', b"\\", b":", b",", b"{", b"}", b"[", b"]", b"0", b"1", b"-"),
                *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\n", b"null", b'"a":1,', b'"id":"x",'),
                *(b"\\u0000", b"\\ud800", b"\\u0041", b"\xef\xbb\xbf", b"1e999", b"e", b"."),
            ]
        )
    )
    agree(record(event_type, key, value[:at] + put + value[until:]))


@pytest.mark.parametrize("event_type", TYPES.values(), ids=lambda each: each.full_name)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_name_given_twice_is_always_found(event_type: EventType, data: st.DataObject) -> None:
    document = data.draw(documents(event_type))
    key = key_of_document(event_type, document)
    inside = data.draw(st.booleans())
    where = document["data"] if inside else document
    if data.draw(st.booleans()):
        # A default that is left out must not make up for the name that is there twice.
        where.pop(data.draw(st.sampled_from(["holdsCash", "properties", "effective"])), None)
    name = data.draw(st.sampled_from([*(where or {"x": 1})]))
    again = data.draw(st.sampled_from([where.get(name), None, 1, "x"]))
    space = data.draw(st.sampled_from([b"", b" ", b"\n"]))
    member = msgspec.json.encode(name) + space + b":" + msgspec.json.encode(again)
    value = msgspec.json.encode(document)
    encoded = msgspec.json.encode(where)
    doubled = b"{" + member + (b"," if where else b"") + encoded[1:]
    value = value.replace(encoded, doubled) if inside else doubled
    outcome = agree(record(event_type, key, value))
    if where:
        assert isinstance(outcome, Unreadable)
        assert any("more than once" in error.message for error in outcome.errors)


@given(value=st.binary(max_size=200) | JSON_VALUES.map(msgspec.json.encode))
@settings(max_examples=200, deadline=None)
def test_any_bytes_have_an_answer(value: bytes) -> None:
    outcome = agree(record(TYPES["bfc.transaction.posted.v1"], b"usr_17", value))
    assert isinstance(outcome, Unreadable)
    assert outcome.errors


@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=4))
@example(texts=["a\u007fb"])
@example(texts=["a\u0080b"])
@example(texts=["a\u009fb"])
@example(texts=["£ \u00a0é₹ü"])
def test_a_batch_is_legible_if_no_text_in_it_has_controls_or_escapes(texts: list[str]) -> None:
    values = [json.dumps(text, ensure_ascii=False).encode() for text in texts]
    written = any(b"\\" in value for value in values)
    controls = any(has_controls(text) for text in texts)
    assert is_legible([*values, None]) is not (written or controls)


def test_a_member_that_was_left_out_is_not_shared_between_events() -> None:
    compiled = TYPES["journey.step.recorded.v1"].compiled
    data = {"session": "s", "action": "open", "platform": "web"}
    one, other = compiled.convert(data), compiled.convert(data)
    assert one.properties == other.properties == {}
    assert one.properties is not other.properties

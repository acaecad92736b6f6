"""Events by HTTP, many at a time: each is what `validate_json` says of it alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.incoming import STRUCTURED, Given, Valid, checked
from schemas.attributes import extensions_of
from schemas.codec import TENANT, Encoded, RawRecord, decode_record, encode_batch, validate_json
from schemas.envelope import HEADERS, Draft, Event
from schemas.errors import InvalidEvent
from schemas.instants import milliseconds
from tests.property.test_schemas_paths import EVENT_TYPES, ODD_VALUES
from tests.strategies import documents

_INTERNAL = ("app.timer.fired.v1", "rule.crossed.v1")


def alone(value: bytes) -> Draft | InvalidEvent:
    try:
        return validate_json(value, [("content-type", STRUCTURED)], tenant="theirs")
    except InvalidEvent as error:
        return error


def as_read(event: Encoded) -> dict[str, Any]:
    """Everything of an event as it is read from the log, but how it was written."""
    ingested = milliseconds(datetime(2026, 3, 1, tzinfo=UTC))
    record = RawRecord(event.topic, 0, 0, event.key, event.value, HEADERS, ingested)
    seen = decode_record(record, tenant="ours")
    assert isinstance(seen, Event), seen
    extensions = extensions_of(msgspec.json.decode(event.value))
    return msgspec.structs.asdict(seen) | {"raw": extensions}


@st.composite
def values(draw: st.DrawFn) -> bytes:
    """An event as text: valid, or with one member altered, added or left out."""
    event_type = draw(EVENT_TYPES.filter(lambda each: each.full_name not in _INTERNAL))
    document: dict[str, Any] = draw(documents(event_type))
    if draw(st.booleans()):
        # Most drawn times lie in the future.
        document["time"] = "2026-02-12T09:30:00.123Z"
    if draw(st.booleans()):
        where = draw(st.sampled_from([document, document["data"]]))
        name = draw(st.sampled_from([*where, "unknown", "data_base64", ""]))
        if draw(st.booleans()):
            where[name] = draw(ODD_VALUES)
        else:
            where.pop(name, None)
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


ODD_TEXTS = st.sampled_from(
    [
        *(b"", b"{", b"[]", b"null", b'"text"', b"{}", b"\xff", b"[" * 5000),
        *(b'{"type": []}', b'{"type": "x", "data": 1}'),
        b'{"type": "journey.step.recorded.v1", "userid": 7, "data": {}}',
    ]
)


@given(st.lists(values() | ODD_TEXTS, min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_events_together_are_what_each_is_alone(texts: list[bytes]) -> None:
    found = checked([Given(text) for text in texts], "theirs")
    assert len(found) == len(texts)
    for text, one in zip(texts, found, strict=True):
        wanted = alone(text)
        if isinstance(wanted, InvalidEvent):
            assert isinstance(one, InvalidEvent), text
            assert one.errors == wanted.errors
        else:
            assert isinstance(one, Valid)
            assert one.event_id == wanted.id
            assert as_read(one.event) == as_read(*encode_batch([wanted]))


def test_what_is_plainly_right_goes_into_the_log_as_it_came() -> None:
    # With spaces, an escape, zeros and an order that no writer of ours would give it.
    rest = (
        rb'"type":"market.price.ticked.v1",  "specversion":"1.0",'
        rb'"time":"2026-02-12T10:30:00+01:00","source":"/me","id":"7","note":"\u0041",'
        rb'"data":{"symbol":"X","price":"1.50000","currency":"EUR"}}'
    )
    unnamed, named = b" {" + rest, b'{"tenantid":"mine",' + rest
    found = checked([Given(unnamed), Given(named)], "bfc")
    assert [one.event.value for one in found if isinstance(one, Valid)] == [
        b'{"tenantid":"bfc",' + rest,
        named,
    ]


def test_what_this_system_alone_emits_is_refused() -> None:
    timer = {
        "specversion": "1.0",
        "id": "1",
        "source": "/me",
        "type": "app.timer.fired.v1",
        "time": "2026-02-12T09:30:00Z",
        "userid": "usr_17",
        "data": {"timer": "t", "due": "2026-02-12T09:30:00Z", "payload": {}, "projection": "x"},
    }
    (found,) = checked([Given(json.dumps(timer).encode())], TENANT)
    assert isinstance(found, InvalidEvent)

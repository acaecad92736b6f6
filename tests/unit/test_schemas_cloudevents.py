"""CloudEvents as others make them: both modes, on Kafka and HTTP, by the official SDK too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from cloudevents.core.bindings import http, kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from schemas.cloudevents import http_mode, json_items, json_lines, percent_decoded
from schemas.codec import RawRecord, Unreadable, decode_record, encode, validate_json
from schemas.envelope import Event, key_of
from schemas.errors import Invalid, InvalidEvent
from schemas.instants import milliseconds
from schemas.topics import partition_of
from tests.builders import T0, draft, posted, record_of

DATA = {
    "transaction": "txn_1",
    "account": "acc_1",
    "direction": "credit",
    "amount": "45000.00",
    "currency": "INR",
    "status": "posted",
    "description": "Gehalt für März ₹ 🎉",
    "unknown": {"kept": [1, None]},
}
ATTRIBUTES = {
    "id": "größe-1 %41",
    "source": "/bfc/core-banking",
    "type": "bfc.transaction.posted.v1",
    "time": T0,
    "subject": "acc_1",
    "userid": "usr_ü",
    "sequence": "42",
    "partitionkey": "usr_ü",
}


def foreign(**attributes: Any) -> CloudEvent:
    return CloudEvent({**ATTRIBUTES, **attributes}, DATA)


def received(message: kafka.KafkaMessage) -> Event | Unreadable:
    key = message.key.encode() if isinstance(message.key, str) else message.key
    return decode_record(
        RawRecord(
            topic="bfc.ledger",
            partition=partition_of(key or b"", 6),
            offset=1,
            key=key,
            value=message.value,
            headers=list(message.headers.items()),
            timestamp=milliseconds(T0),
        ),
        partitions={"bfc.ledger": 6},
    )


@pytest.mark.parametrize("media", [{}, {"datacontenttype": "application/json"}])
@pytest.mark.parametrize("mode", [kafka.to_structured, kafka.to_binary])
def test_the_official_sdk_is_understood(mode: Any, media: dict[str, str]) -> None:
    event = received(mode(foreign(**media), JSONFormat()))
    assert isinstance(event, Event), event.reason
    assert (event.id, event.user_id, event.sequence) == ("größe-1 %41", "usr_ü", "42")
    assert (event.type, event.version, event.time, event.subject) == (
        *("bfc.transaction.posted", 1, T0, "acc_1"),
    )
    assert event.data.description == DATA["description"]
    assert event.raw_data == DATA
    assert event.binary is (mode is kafka.to_binary)


def test_both_modes_are_the_same_event() -> None:
    structured, binary = (
        received(mode(foreign(), JSONFormat())) for mode in (kafka.to_structured, kafka.to_binary)
    )
    assert isinstance(structured, Event) and isinstance(binary, Event)
    assert structured.data == binary.data
    assert structured.key == binary.key


@pytest.mark.parametrize("mode", [http.to_structured, http.to_binary])
def test_the_official_sdk_over_http(mode: Any) -> None:
    message = mode(foreign(datacontenttype="application/json"), JSONFormat())
    made = validate_json(message.body, message.headers.items(), at=T0)
    assert (made.id, made.user_id, made.time) == ("größe-1 %41", "usr_ü", T0)
    assert made.data == DATA
    assert made.extensions == {"partitionkey": "usr_ü"}
    again = json.loads(encode(made))
    assert (again["partitionkey"], again["data"]) == ("usr_ü", DATA)
    assert key_of(made) == "usr_ü".encode()


def test_our_events_are_understood_by_the_official_sdk() -> None:
    record = record_of(posted("12.50", user="usr_1", subject="acc_1", sequence="7"))
    headers = {name: value or b"" for name, value in record.headers}
    message = kafka.KafkaMessage(headers, record.key, record.value or b"")
    event = kafka.from_kafka(message, JSONFormat(), CloudEvent)
    assert event.get_time() == T0
    assert event.get_extension("userid") == "usr_1"
    data = event.get_data()
    assert isinstance(data, dict) and data["amount"] == "12.50"


def binary_record(**changed: bytes | None) -> RawRecord:
    message = kafka.to_binary(foreign(datacontenttype="application/json"), JSONFormat())
    headers: dict[str, bytes | None] = {**message.headers}
    for name, value in changed.items():
        header = name.replace("content_type", "content-type")
        headers.pop(header, None)
        if value is not None:
            headers[header] = value
    key = "usr_ü".encode()
    place = ("bfc.ledger", partition_of(key, 6), 1)
    return RawRecord(*place, key, message.value, list(headers.items()), milliseconds(T0))


def errors(record: RawRecord) -> list[str]:
    outcome = decode_record(record, partitions={"bfc.ledger": 6})
    assert isinstance(outcome, Unreadable)
    return [error.path for error in outcome.errors]


def test_binary_mode_says_what_is_wrong_by_field() -> None:
    assert errors(binary_record(ce_id=None)) == ["id"]
    assert errors(binary_record(ce_time=b"yesterday", ce_userid=None)) == ["time", "userid"]
    assert errors(binary_record(ce_source=b"\xff")) == ["source"]
    doubled = json.dumps(DATA).replace('"amount"', '"amount": "1", "amount"').encode()
    assert errors(binary_record()._replace(value=doubled)) == ["data.amount"]
    assert errors(binary_record()._replace(value=b"")) == [""]
    assert errors(binary_record()._replace(value=None)) == [""]
    assert "data.amount" in errors(binary_record()._replace(value=b"{}"))
    assert errors(binary_record()._replace(value=b"[]")) == ["data"]
    twice = binary_record()
    again = [*twice.headers, ("ce_id", b"other")]
    assert errors(twice._replace(headers=again)) == ["id"]


def test_binary_headers_are_not_percent_decoded_on_kafka() -> None:
    event = decode_record(binary_record(ce_subject=b"a%20b"))
    assert isinstance(event, Event) and event.subject == "a%20b"


def test_binary_mode_counts_the_same_nesting_as_structured() -> None:
    for depth, fine in ((61, True), (62, False)):
        inner = "[" * depth + "]" * depth
        value = json.dumps(DATA).replace('"kept": ', f'"kept": {inner}, "and": ').encode()
        outcome = decode_record(binary_record()._replace(value=value))
        assert isinstance(outcome, Event) is fine


@pytest.mark.parametrize(
    ("content_type", "paths"),
    [
        (None, None),
        (b"application/cloudevents+json", None),
        (b"application/cloudevents+json; charset=UTF-8", None),
        (b'Application/CloudEvents+JSON;charset="utf-8"', None),
        (b"application/cloudevents+json; charset=latin1", ["content-type"]),
        (b"application/cloudevents+avro", ["content-type"]),
        (b"application/cloudevents-batch+json", ["content-type"]),
        (b"text/plain", ["content-type"]),
        (b"application/json", ["content-type"]),
        (b"", ["content-type"]),
        (b"\xff", ["content-type"]),
    ],
)
def test_content_types_of_structured_records(
    content_type: bytes | None, paths: list[str] | None
) -> None:
    headers = [] if content_type is None else [("content-type", content_type)]
    outcome = decode_record(record_of(posted())._replace(headers=headers))
    if paths is None:
        assert isinstance(outcome, Event), outcome.reason
    else:
        assert isinstance(outcome, Unreadable)
        assert [error.path for error in outcome.errors] == paths


def test_content_types_of_binary_records() -> None:
    for fine in (None, b"application/json", b"application/json; charset=UTF-8", b"text/json"):
        assert isinstance(decode_record(binary_record(content_type=fine)), Event), fine
    for bad in (b"text/plain", b"application/xml", b"application/json; charset=utf-16"):
        assert "content-type" in errors(binary_record(content_type=bad))


def test_other_headers_do_not_matter() -> None:
    record = record_of(posted())
    more = [("traceparent", b"00-1"), *record.headers, ("ce_id", b"ignored in structured mode")]
    assert isinstance(decode_record(record._replace(headers=more)), Event)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("plain", "plain"),
        ('"a%20b"', "a b"),
        ("%", "%"),
    ],
)
def test_percent_decoding(header: str, value: str) -> None:
    assert percent_decoded(header) == value


def test_percent_encoded_bytes_that_are_no_text() -> None:
    with pytest.raises(Invalid):
        percent_decoded("%ff")
    assert [error.path for error in http_mode([("ce-subject", "%ff")]).errors] == ["subject"]


def http_errors(body: bytes, headers: Iterable[tuple[str, str]] = ()) -> list[str]:
    with pytest.raises(InvalidEvent) as caught:
        validate_json(body, headers, at=T0)
    return [error.path for error in caught.value.errors]


def test_http_bodies() -> None:
    made = posted("7.50", user="usr_1")
    body = encode(made)
    for content_type in ("application/cloudevents+json", "application/json"):
        assert validate_json(body, [("Content-Type", content_type)], at=T0).data == made.data
    assert validate_json(body, at=T0) == validate_json(json.loads(body), at=T0)
    assert http_errors(body, [("content-type", "text/plain")]) == ["content-type"]
    assert http_errors(b"{}") == [
        *("specversion", "id", "source", "type", "time", "data"),
    ]
    assert http_errors(body.replace(b"7.50", b"0")) == ["data.amount"]
    assert http_errors(b"nonsense") == [""]


def test_batches_are_taken_apart_as_they_are_written() -> None:
    assert json_items(b'[{"a":1,"a":2}, "x"]') == [b'{"a":1,"a":2}', b'"x"']
    assert json_lines(b'{"a":1}\r\n\n{"b":2}\n') == [b'{"a":1}\r', b'{"b":2}']
    for bad in (b"{}", b"[1", b"", b"\xff"):
        with pytest.raises(Invalid):
            json_items(bad)


def test_an_encoded_draft_of_each_kind_of_key_comes_back() -> None:
    data = {"system": "crm", "name": "called", "payload": {"a": {"b": [1.5, None, True, 10**30]}}}
    made = draft("external.event.received", data, user="u")
    event = decode_record(record_of(made))
    assert isinstance(event, Event)
    assert event.raw_data == data and event.data.payload == data["payload"]

"""Columns are what the row-wise decoder makes of the same records, or there are none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import TENANT, RawRecord, decode_batch
from schemas.columns import Columns, decode_columns, is_columnar
from schemas.envelope import HEADERS, Event
from schemas.instants import END, milliseconds
from schemas.registry import TYPES, EventType
from schemas.topics import KeyKind, partition_of
from tests.builders import record_of
from tests.corpus.kind import good as corpus_good
from tests.corpus.kinds import KINDS
from tests.property.test_bad_records import PIECES, mutated
from tests.property.test_schemas_paths import ODD_VALUES
from tests.strategies import documents, key_of_document

PARTITIONS = 6
#: So late that no valid event time is too far ahead of it.
INGESTED = milliseconds(END)

COLUMNAR = [event_type for event_type in TYPES.values() if is_columnar(event_type)]
EVENT_TYPES = st.sampled_from(COLUMNAR)


def columns_of(records: Sequence[RawRecord]) -> Columns | None:
    return decode_columns(records, partitions=PARTITIONS, tenant=TENANT)


def assert_same(columns: Columns, records: Sequence[RawRecord]) -> None:
    """The row-wise decoder finds the same events."""
    events = decode_batch(records, partitions={records[0].topic: PARTITIONS})
    names = [*columns.event_type.model.model_fields]
    envelope = ["id", "source", "subject", "user_id", "time"]
    assert columns.table.column_names == [*envelope, "offset", *names]
    columns.table.validate(full=True)
    rows = columns.table.to_pylist()
    assert len(rows) == len(events)
    assert list(columns.keys()) == [event.key_bytes for event in events if isinstance(event, Event)]
    for row, event in zip(rows, events, strict=True):
        assert isinstance(event, Event), event
        assert event.type == columns.event_type.name
        assert event.wire_version == columns.event_type.version
        assert event.tenant_id == TENANT
        assert row.pop("offset") == event.position.offset
        assert row.pop("time").astimezone(UTC) == event.time
        assert {name: row.pop(name) for name in envelope[:-1]} == {
            name: getattr(event, name) for name in envelope[:-1]
        }
        assert row == {name: getattr(event.data, name) for name in names}


def plain(value: Any) -> Any:
    """The same without what is not ASCII or must be escaped, and without nulls."""
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items() if member is not None}
    if isinstance(value, str):
        return "".join(
            c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in value
        )
    return value


@st.composite
def plain_documents(draw: st.DrawFn, event_type: EventType) -> list[dict[str, Any]]:
    """Events of one type and one partition, as our own producers say such things."""
    drawn = draw(st.lists(documents(event_type), min_size=1, max_size=5))
    made = [plain(document) for document in drawn]
    for document in made:
        if "tenantid" in document:
            document["tenantid"] = TENANT
        if event_type.topic.key is KeyKind.USER:
            document["userid"] = made[0]["userid"]
        else:
            document["data"]["symbol"] = made[0]["data"]["symbol"]
    return made


def records_of(event_type: EventType, key: bytes, values: Sequence[bytes]) -> list[RawRecord]:
    topic, partition = event_type.topic.name, partition_of(key, PARTITIONS)
    return [
        RawRecord(topic, partition, offset, key, value, list(HEADERS), INGESTED)
        for offset, value in enumerate(values, 7)
    ]


@pytest.mark.parametrize("event_type", COLUMNAR, ids=lambda each: each.full_name)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_plain_events_become_columns(event_type: EventType, data: st.DataObject) -> None:
    made = data.draw(plain_documents(event_type))
    key = key_of_document(event_type, made[0])
    for values in ([msgspec.json.encode(each) for each in made], [_spaced(each) for each in made]):
        records = records_of(event_type, key, values)
        columns = columns_of(records)
        assert columns is not None
        assert_same(columns, records)


def _spaced(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode()


def _drawn(data: st.DataObject) -> tuple[EventType, list[dict[str, Any]], bytes]:
    """A type, plain documents of it for one partition, and their key."""
    event_type = data.draw(EVENT_TYPES)
    made = data.draw(plain_documents(event_type))
    return event_type, made, key_of_document(event_type, made[0])


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_altered_event_gets_through(data: st.DataObject) -> None:
    event_type, made, key = _drawn(data)
    document = data.draw(st.sampled_from(made))
    where: dict[str, Any] = data.draw(st.sampled_from([document, document["data"]]))
    name = data.draw(st.sampled_from([*where, "unknown", "data_base64", "subject", "valueDate"]))
    if data.draw(st.booleans()):
        where[name] = data.draw(ODD_VALUES)
    else:
        where.pop(name, None)
    texts = [json.dumps(each, ensure_ascii=data.draw(st.booleans())) for each in made]
    _check(records_of(event_type, key, [text.encode("utf-8", "surrogatepass") for text in texts]))


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_no_altered_text_gets_through(data: st.DataObject) -> None:
    event_type, made, key = _drawn(data)
    values = [msgspec.json.encode(each) for each in made]
    for _ in range(data.draw(st.integers(1, 2))):
        number = data.draw(st.integers(0, len(values) - 1))
        value = values[number]
        start = data.draw(st.integers(0, len(value)))
        end = data.draw(st.integers(start, min(len(value), start + 20)))
        piece = data.draw(PIECES | st.binary(max_size=3) | st.just(value[start:end] * 2))
        values[number] = value[:start] + piece + value[end:]
    _check(records_of(event_type, key, values))


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_events_cut_elsewhere_do_not_get_through(data: st.DataObject) -> None:
    event_type, made, key = _drawn(data)
    text = b"".join(msgspec.json.encode(each) for each in made)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=len(made))))
    values = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    _check(records_of(event_type, key, values))


@given(record=mutated())
@settings(max_examples=150, deadline=None)
def test_no_mutated_record_gets_through(record: RawRecord) -> None:
    _check([record])


def _check(records: Sequence[RawRecord]) -> None:
    columns = columns_of(records)
    if columns is not None:
        assert_same(columns, records)


def test_nothing_of_the_corpus_gets_through() -> None:
    good = record_of(corpus_good())
    assert columns_of([good]) is not None
    for kind in KINDS:
        same_place = kind.record._replace(topic=good.topic, partition=good.partition)
        for bad in (kind.record, same_place):
            for records in ([bad], [good, bad, good], [bad, good]):
                columns = columns_of(records)
                # What is wrong with some is just the place; the same events are right elsewhere.
                assert columns is None or bad is same_place, kind.name
                if columns is not None:
                    assert_same(columns, records)

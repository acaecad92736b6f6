"""What derives events quickly gives what the plain ways give."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import decode_record, encode, encode_batch, validate_json
from schemas.envelope import Draft, Event, derived_id, document_of, key_of, topic_of, written
from schemas.errors import InvalidEvent
from schemas.instants import END, rfc3339
from schemas.registry import TYPES
from tests.builders import posted, record_of
from tests.strategies import documents

NAMESPACE = uuid.UUID("5f0c1b1e-6f0b-5e57-8f2f-3d6d5b6f7c11")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(TEXTS, st.integers(0, 99), TEXTS, TEXTS | st.integers())
def test_a_derived_id_is_a_uuid_of_its_cause(
    projection: str, version: int, cause: str, ordinal: int | str
) -> None:
    name = f"{projection}\0{version}\0{cause}\0{ordinal}"
    assert derived_id(projection, version, cause, ordinal) == str(uuid.uuid5(NAMESPACE, name))


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=OFFSETS | st.just(UTC)))
def test_times_are_written_as_isoformat_cuts_them(time: datetime) -> None:
    cut = time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    assert rfc3339(time) == f"{cut}Z"


@pytest.mark.parametrize("second", [0, 1_000, 999, 999_999, 120_000])
def test_times_always_have_three_decimals(second: int) -> None:
    time = datetime(2026, 2, 12, 9, 30, 0, second, UTC)
    assert rfc3339(time) == f"2026-02-12T09:30:00.{second // 1000:03}Z"


@pytest.mark.parametrize("event_type", TYPES.values(), ids=lambda each: each.full_name)
@given(data=st.data(), tenant=st.sampled_from([None, "bfc"]))
@settings(max_examples=15, deadline=None)
def test_both_ways_of_writing_give_the_same_bytes(
    event_type: Any, data: st.DataObject, tenant: str | None
) -> None:
    made = drawn(event_type, data)
    plain = msgspec.structs.replace(made, extensions={})
    for each in (made, plain, msgspec.structs.replace(plain, tenant_id=None)):
        assert written(each, tenant) == msgspec.json.encode(document_of(each, tenant))


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_many_are_encoded_as_each_alone(data: st.DataObject) -> None:
    types = data.draw(st.lists(st.sampled_from(list(TYPES.values())), max_size=5))
    drafts = [drawn(each, data) for each in types]
    many = encode_batch(drafts)
    assert [each.value for each in many] == [encode(each) for each in drafts]
    assert [each.topic for each in many] == [topic_of(each).name for each in drafts]
    assert [each.key for each in many] == [key_of(each) for each in drafts]
    assert all(isinstance(decode_record(record_of(each)), Event) for each in drafts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": {}},
        {"user_id": None},
        {"type": "nobody.knows.this.v1"},
        {"id": ""},
        {"subject": "a\u0085b"},
        {"source": "\ud800"},
        {"time": datetime(2200, 1, 1, tzinfo=UTC)},
    ],
    ids=str,
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_that_is_not_valid_makes_all_invalid(wrong: dict[str, Any], place: int) -> None:
    drafts = [posted(id=f"txn-{number}") for number in range(3)]
    assert len(encode_batch(drafts)) == len(drafts)
    drafts[place] = msgspec.structs.replace(drafts[place], **wrong)
    with pytest.raises(InvalidEvent) as alone:
        encode(drafts[place])
    with pytest.raises(InvalidEvent) as among_others:
        encode_batch(drafts)
    assert among_others.value.errors == alone.value.errors


def drawn(event_type: Any, data: st.DataObject) -> Draft:
    return validate_json(msgspec.json.encode(data.draw(documents(event_type))), at=END)

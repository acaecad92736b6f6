"""Records in, events out; drafts in, records out.

`decode_batch` is the hot path: one msgspec pass per record into a struct that was compiled from the
pydantic models, then the checks that no parser makes. Whatever is not plainly right there goes to
the careful path (`schemas.careful`), which decides and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from schemas import careful, cloudevents, instants
from schemas.attributes import extensions_of
from schemas.envelope import HEADERS, Draft, Event, key_of, now, topic_of, written
from schemas.errors import FieldError, Invalid, InvalidEvent, reason
from schemas.fast import KEYS, FastDecoder, Record, is_legible, placed, topical
from schemas.instants import milliseconds
from schemas.position import Position

TENANT = "bfc"


class RawRecord(NamedTuple):
    """A record as plain values; `timestamp` in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp: int


class Unreadable(msgspec.Struct, frozen=True):
    """A record that is no valid event, with everything that is wrong with it."""

    position: Position
    record: Record
    errors: tuple[FieldError, ...]

    @property
    def reason(self) -> str:
        """`path: message; path: message`, as dead letters carry it."""
        return reason(self.errors)


def decode_batch(
    records: Iterable[Record],
    *,
    partitions: Mapping[str, int] | None = None,
    tenant: str = TENANT,
) -> list[Event | Unreadable]:
    """The events of records, in the same order and number.

    `partitions` says how many partitions each topic has; for a topic that it does not name (or
    without it), the partition is not compared with the key's. `tenant` is the installation's, for
    events that name none.
    """
    batch = list(records)
    legible = is_legible([record.value for record in batch])
    counts = partitions or {}
    decoders: dict[str, FastDecoder | None] = {}
    decoded: list[Event | Unreadable] = []
    for record in batch:
        topic = record.topic
        if topic not in decoders:
            decoders[topic] = _fast(topic, counts.get(topic), tenant, legible)
        decoder = decoders[topic]
        event = None if decoder is None else decoder.decode(record)
        decoded.append(event or decode_carefully(record, counts.get(topic), tenant=tenant))
    return decoded


def decode_record(
    record: Record, *, partitions: Mapping[str, int] | None = None, tenant: str = TENANT
) -> Event | Unreadable:
    """The event of one record."""
    return decode_batch([record], partitions=partitions, tenant=tenant)[0]


def _fast(topic: str, partitions: int | None, tenant: str, legible: bool) -> FastDecoder | None:
    types = topical(topic)
    return None if types is None else FastDecoder(types, partitions, tenant, legible)


def decode_carefully(
    record: Record, partitions: int | None = None, *, tenant: str = TENANT
) -> Event | Unreadable:
    """What `decode_batch` does with a record, without the fast path; `partitions` of its topic."""
    position = Position(record.topic, record.partition, record.offset)
    value = record.value
    try:
        ingested_at = instants.from_milliseconds(record.timestamp)
    except OverflowError:
        message = f"the record's timestamp {record.timestamp} is no time"
        return Unreadable(position, record, (FieldError("", message),))
    if value is None:
        return Unreadable(position, record, (FieldError("", "is null"),))
    found = cloudevents.kafka_document(value, record.headers or ())
    checked = careful.check(found, ingested_at, record.topic)
    if isinstance(checked, list):
        return Unreadable(position, record, tuple(checked))
    errors = _misplaced(checked, record, partitions)
    if errors:
        return Unreadable(position, record, tuple(errors))
    attributes = checked.attributes
    return Event(
        id=attributes.id,
        source=attributes.source,
        type=checked.newest.name,
        version=checked.newest.version,
        subject=attributes.subject,
        time=attributes.time,
        user_id=attributes.userid,
        tenant_id=attributes.tenantid or tenant,
        sequence=attributes.sequence,
        correlation_id=attributes.correlationid,
        causation_id=attributes.causationid,
        traceparent=attributes.traceparent,
        data=checked.data,
        position=position,
        ingested_at=ingested_at,
        raw=value,
        wire_version=checked.event_type.version,
        binary=found.binary,
    )


def _misplaced(
    checked: careful.Checked, record: Record, partitions: int | None
) -> list[FieldError]:
    event_type, key = checked.event_type, record.key
    errors: list[FieldError] = []
    of_data = KEYS.get(event_type.topic.key)
    user_id = checked.attributes.userid
    wanted = user_id if of_data is None else of_data(user_id, checked.data)
    if key is None or key != (wanted or "").encode():
        shown = "there is none" if key is None else f"it is {key[:100]!r}"
        errors.append(
            FieldError(
                "key",
                f"must equal the {event_type.topic.key.value} {wanted!r}; {shown}",
            )
        )
    elif partitions is not None and placed(key, partitions) != record.partition:
        message = (
            f"is {record.partition}, but the key belongs in {placed(key, partitions)}: the "
            "producer must use the Java clients' partitioner (librdkafka: murmur2_random)"
        )
        errors.append(FieldError("partition", message))
    return errors


def encode(draft: Draft, *, tenant: str = TENANT) -> bytes:
    """The record value of a draft, structured mode; raises InvalidEvent if it is not valid."""
    return encode_batch([draft], tenant=tenant)[0].value


class Encoded(NamedTuple):
    """An event as it goes into the log, structured mode."""

    topic: str
    key: bytes
    value: bytes


def encode_batch(drafts: Sequence[Draft], *, tenant: str = TENANT) -> list[Encoded]:
    """The records of drafts; raises InvalidEvent if one is not valid."""
    if not drafts:
        return []
    # None lies ahead of the newest: whether one lies in the future is not asked here.
    at = milliseconds(max([draft.time for draft in drafts]))
    made: list[Encoded] = []
    for each in encode_each(drafts, at, tenant=tenant):
        if isinstance(each, InvalidEvent):
            raise each
        made.append(each)
    return made


def encode_each(
    drafts: Sequence[Draft], at: int, *, tenant: str = TENANT
) -> list[Encoded | InvalidEvent]:
    """Each draft's record, or what is wrong with it; ``at`` as in `judge`."""
    return judge([_encoded(draft, tenant) for draft in drafts], at, tenant=tenant)


def judge(
    events: Sequence[Encoded | InvalidEvent], at: int, *, tenant: str = TENANT
) -> list[Encoded | InvalidEvent]:
    """Events that are about to be sent, or what is wrong with each.

    They are decoded as everybody will decode them from the log, ``at`` being the moment of
    ingestion in milliseconds; all together, which is cheaper than each alone.
    """
    records = [
        RawRecord(event.topic, 0, 0, event.key, event.value, HEADERS, at)
        for event in events
        if isinstance(event, Encoded)
    ]
    decoded = iter(decode_batch(records, tenant=tenant))
    return [
        InvalidEvent(seen.errors)
        if isinstance(event, Encoded) and isinstance(seen := next(decoded), Unreadable)
        else event
        for event in events
    ]


def _encoded(draft: Draft, tenant: str) -> Encoded | InvalidEvent:
    try:
        topic = topic_of(draft).name
        value = written(draft, tenant)
    except InvalidEvent as error:
        return error
    except UnicodeEncodeError:
        return InvalidEvent([FieldError("", "a text has a lone surrogate")])
    except Invalid as error:
        return InvalidEvent([FieldError("data", str(error))])
    try:
        key = key_of(draft)
    except InvalidEvent:
        key = b""  # what is missing for it is found in decoding, with everything else
    return Encoded(topic, key, value)


def validate_json(
    value: bytes | dict[str, Any],
    headers: Iterable[tuple[str, str]] = (),
    *,
    at: datetime | None = None,
    tenant: str = TENANT,
) -> Draft:
    """The event of an HTTP body (one event), as a draft; raises InvalidEvent with all errors.

    `headers` are the request's; `at` is the moment of ingestion (default: the present).
    """
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    found = cloudevents.http_document(body, headers)
    checked = careful.check(found, at or now())
    if isinstance(checked, list):
        raise InvalidEvent(checked)
    document = found.value or {}
    known = checked.attributes
    return Draft(
        type=known.type,
        source=known.source,
        data=document["data"],
        time=known.time,
        user_id=known.userid,
        subject=known.subject,
        id=known.id,
        tenant_id=known.tenantid or tenant,
        sequence=known.sequence,
        correlation_id=known.correlationid,
        causation_id=known.causationid,
        traceparent=known.traceparent,
        extensions=extensions_of(document),
    )

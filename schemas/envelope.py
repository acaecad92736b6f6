"""The event as everybody here sees it, and the draft of one that has no place in the log yet."""

from __future__ import annotations

import os
import re
import time as clock
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b, sha1
from typing import Any

import msgspec
import msgspec.structs

from schemas import instants, limits
from schemas.errors import FieldError, Invalid, InvalidEvent
from schemas.events.fields import DAY, INSTANT, SIGNED, Data, wire_name
from schemas.position import Position
from schemas.registry import TYPES, EventType
from schemas.topics import KeyKind, Topic
from schemas.upcasts import upcast

_NAMESPACE = uuid.UUID("5f0c1b1e-6f0b-5e57-8f2f-3d6d5b6f7c11").bytes

#: A UUID as it is usually written.
UUID_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_is_uuid = re.compile(UUID_PATTERN).fullmatch

#: The header of every record that is written here.
CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
HEADERS: list[tuple[str, bytes]] = [("content-type", CONTENT_TYPE.encode())]

_AS_IS = frozenset({str, int, bool, float, type(None)})
_WRITERS: dict[type, Callable[[Any], str]] = {
    Decimal: SIGNED.write,
    datetime: INSTANT.write,
    date: DAY.write,
    uuid.UUID: str,
}


class Event(msgspec.Struct, frozen=True, gc=False):
    """One valid event of the log. `gc=False` is safe: nothing in it refers back to it."""

    id: str
    source: str
    #: The name without its version.
    type: str
    #: The version of `data`: the newest one of the type, whatever the log has.
    version: int
    subject: str | None
    #: Event time, UTC, milliseconds.
    time: datetime
    user_id: str | None
    tenant_id: str
    sequence: str | None
    correlation_id: str | None
    causation_id: str | None
    traceparent: str | None
    #: Has the attributes of the type's model: annotate it (`data: TransactionPosted = event.data`).
    data: Any
    position: Position
    #: The record's timestamp.
    ingested_at: datetime
    #: The record's value as it stands in the log.
    raw: bytes
    #: The version of the type in the log.
    wire_version: int
    #: Whether the record is in binary mode: then `raw` is the data alone.
    binary: bool = False

    @property
    def raw_data(self) -> dict[str, Any]:
        """The data as JSON (camelCase, unknown members kept), in the newest version; parsed anew
        on every call."""
        document = msgspec.json.decode(self.raw)
        data = document if self.binary else document["data"]
        return upcast(self.type, self.wire_version, data)

    @property
    def time_ms(self) -> int:
        """Event time in milliseconds since 1970."""
        return instants.milliseconds(self.time)

    @property
    def key_bytes(self) -> bytes:
        """16 bytes that stand for (source, id): the idempotency key."""
        return idempotency_key(self.source, self.id)

    @property
    def key(self) -> uuid.UUID:
        """The idempotency key as a UUID."""
        return uuid.UUID(bytes=self.key_bytes)

    @property
    def full_type(self) -> str:
        """The name with the version that `data` has."""
        return f"{self.type}.v{self.version}"


class _Structured(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An event in structured mode, in the order in which `document_of` has it."""

    specversion: str | None = None
    id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    userid: str | None = None
    tenantid: str | None = None
    sequence: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    traceparent: str | None = None
    data: Any = None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An event before it is in the log: what a producer makes, or a fold derives."""

    #: With its version: `bfc.transaction.posted.v1`.
    type: str
    source: str
    #: A model, or a dict as on the wire (camelCase), unknown members kept.
    data: Any
    time: datetime
    user_id: str | None = None
    subject: str | None = None
    #: A fold must give one that follows from its cause, see `derived_id`.
    id: str = msgspec.field(default_factory=lambda: uuid7())
    tenant_id: str | None = None
    sequence: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
    #: Further CloudEvents attributes, kept as they are.
    extensions: Mapping[str, Any] = msgspec.field(default_factory=dict)

    @property
    def event_type(self) -> EventType:
        """The registered type; raises InvalidEvent if there is none of that name."""
        found = TYPES.get(self.type)
        if found is None:
            raise InvalidEvent([FieldError("type", f"{self.type!r} is not a known type")])
        return found


def idempotency_key(source: str, event_id: str) -> bytes:
    """16 bytes that stand for (source, id).

    A UUID as it is usually written keeps its bits, mixed with a hash of its source: ids that begin
    with their time (UUIDv7) stay neighbours, and an index of them is written where it was written
    last. Of any other id it is the 128-bit BLAKE2b of source, NUL, id; neither can contain NUL, so
    pairs stay apart.
    """
    if _is_uuid(event_id) is None:
        return blake2b(f"{source}\0{event_id}".encode(), digest_size=16).digest()
    return (int(event_id.replace("-", ""), 16) ^ source_number(source)).to_bytes(16, "big")


@lru_cache(maxsize=limits.sources_cached_max)
def source_number(source: str) -> int:
    """What the UUIDs of a source are mixed with."""
    return int.from_bytes(blake2b(source.encode(), digest_size=16).digest(), "big")


def derived_id(projection: str, version: int, cause: Event | str, ordinal: int | str = 0) -> str:
    """The id of an event derived from `cause`: the same whenever it is derived again.

    `ordinal` tells apart several events derived by one projection from one cause.
    """
    origin = cause if isinstance(cause, str) else f"{cause.source}\0{cause.id}"
    name = f"{projection}\0{version}\0{origin}\0{ordinal}"
    # What `uuid.uuid5` gives as text, in a third of its time.
    digits = sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = _VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


#: A UUID's 17th digit with its two highest bits set to 10 (RFC 9562).
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def uuid7() -> str:
    """A new UUIDv7 (RFC 9562): 48 bits of milliseconds, then random bits."""
    stamp = clock.time_ns() // 1_000_000
    value = (stamp << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def now() -> datetime:
    """The present, UTC, cut to milliseconds. Not for folds."""
    return instants.from_milliseconds(clock.time_ns() // 1_000_000)


def topic_of(draft: Draft) -> Topic:
    """The topic that the draft's type travels on."""
    return draft.event_type.topic


def key_of(draft: Draft) -> bytes:
    """The record key of a draft; raises InvalidEvent if what it is made of is missing."""
    kind = topic_of(draft).key
    data = draft.data
    try:
        if kind is KeyKind.SYMBOL:
            text = _member(data, "symbol")
        elif kind is KeyKind.PAIR:
            text = _member(data, "base") + _member(data, "quote")
        elif kind is KeyKind.SESSION:
            text = draft.user_id or _member(data, "session")
        else:
            text = draft.user_id or ""
    except (KeyError, AttributeError, TypeError):
        text = ""
    if not text:
        raise InvalidEvent([FieldError(_KEY_PATHS[kind], "is required: it makes the key")])
    return text.encode()


_KEY_PATHS = {
    KeyKind.USER: "userid",
    KeyKind.SYMBOL: "data.symbol",
    KeyKind.PAIR: "data.base",
    KeyKind.SESSION: "data.session",
    KeyKind.ORIGINAL: "",
}


def _member(data: Any, name: str) -> str:
    value = data[name] if isinstance(data, Mapping) else getattr(data, name)
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def document_of(draft: Draft, tenant: str | None = None) -> dict[str, Any]:
    """The draft as a CloudEvent in structured mode, as a dict."""
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": draft.id,
        "source": draft.source,
        "type": draft.type,
    }
    # One by one: half of what sending an event costs is making its document.
    if draft.subject is not None:
        document["subject"] = draft.subject
    document["time"] = instants.rfc3339(draft.time)
    document["datacontenttype"] = "application/json"
    if draft.user_id is not None:
        document["userid"] = draft.user_id
    if (named := draft.tenant_id or tenant) is not None:
        document["tenantid"] = named
    if draft.sequence is not None:
        document["sequence"] = draft.sequence
    if draft.correlation_id is not None:
        document["correlationid"] = draft.correlation_id
    if draft.causation_id is not None:
        document["causationid"] = draft.causation_id
    if draft.traceparent is not None:
        document["traceparent"] = draft.traceparent
    for name, value in draft.extensions.items():
        document.setdefault(name, value)
    document["data"] = wire(draft.data)
    return document


def written(draft: Draft, tenant: str | None = None) -> bytes:
    """The draft as the value of a record; raises UnicodeEncodeError for a lone surrogate."""
    if draft.extensions:
        return _encode(document_of(draft, tenant))
    return _encode(
        _Structured(
            "1.0",
            draft.id,
            draft.source,
            draft.type,
            draft.subject,
            instants.rfc3339(draft.time),
            "application/json",
            draft.user_id,
            draft.tenant_id or tenant,
            draft.sequence,
            draft.correlation_id,
            draft.causation_id,
            draft.traceparent,
            wire(draft.data),
        )
    )


_encode = msgspec.json.Encoder().encode


def wire(value: Any) -> Any:
    """A value as JSON on the wire: camelCase names, decimal strings, RFC 3339 times.

    Members of models that are None are left out; dicts keep theirs.
    """
    kind = type(value)
    if kind in _AS_IS:
        return value
    if kind is dict:
        return {
            name: member if type(member) in _AS_IS else wire(member)
            for name, member in value.items()
        }
    if kind is list:
        return [member if type(member) in _AS_IS else wire(member) for member in value]
    write = _WRITERS.get(kind)
    if write is not None:
        return write(value)
    # Whether it is a model is asked last: their class has to be asked in Python.
    if isinstance(value, Data | msgspec.Struct):
        return {
            name: member if type(member) in _AS_IS else wire(member)
            for attribute, name in _names(kind)
            if (member := getattr(value, attribute)) is not None
        }
    if isinstance(value, Mapping):
        return {name: wire(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [wire(member) for member in value]
    raise Invalid(f"{kind.__name__} has no form in JSON here")


def _names(kind: type[Any]) -> tuple[tuple[str, str], ...]:
    names = _NAMES.get(kind)
    if names is None:
        if issubclass(kind, Data):
            names = tuple((name, wire_name(name)) for name in kind.model_fields)
        else:
            names = tuple((field.name, field.encode_name) for field in msgspec.structs.fields(kind))
        _NAMES[kind] = names
    return names


#: Of each kind of model and struct that was written: (attribute, name on the wire).
_NAMES: dict[type, tuple[tuple[str, str], ...]] = {}

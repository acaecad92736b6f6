"""The hot path of decoding: one parse per record, then the checks that no parser makes.

It accepts only what is plainly right and gives None for everything else, right or wrong; the
careful path then decides. So a mistake here can only be one of accepting too much, and a property
test compares the two.

Duplicate names are found without a second parse: a JSON text has two quotes for every string, name
or value, and more if there are quotes inside strings. If it has just as many as the structs that
came out of it account for, then nothing was there twice, and nothing unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Union

import msgspec
from msgspec.structs import astuple

from schemas import instants, limits
from schemas.attributes import has_controls, is_sequence, json_media
from schemas.compiled import Strings, free_strings
from schemas.envelope import HEADERS, Event
from schemas.instants import instant
from schemas.position import Position
from schemas.registry import NEWEST, EventType, types_of
from schemas.topics import TOPICS, KeyKind, partition_of
from schemas.upcasts import upcast


class Record(Protocol):
    """What is needed of a consumed record (aiokafka's has it); `timestamp` is in milliseconds."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...
    @property
    def timestamp(self) -> int: ...


class Form(NamedTuple):
    """How the events of one type are taken apart."""

    event_type: EventType
    newest: EventType
    name: str
    version: int
    nests: bool
    settle: Strings
    #: What the key must be, of userid and data; None for the userid.
    key: Callable[[str | None, Any], str] | None
    wire_version: int


class Topical(NamedTuple):
    """What decodes the events of one topic: a parser for all its types, by their tags."""

    decode: Callable[[bytes], Any]
    forms: dict[type, Form]


#: What `Position(...)` does, without the detour through Python.
_tuple = tuple.__new__

_Name = Annotated[str, msgspec.Meta(min_length=1)]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.id_length_max)]
_USUAL_HEADERS = frozenset([*HEADERS, ("content-type", b"application/cloudevents+json")])


def is_bare(text: bytes) -> bool:
    """Whether a JSON text has no escapes, no DEL and nothing beyond ASCII."""
    return text.isascii() and b"\\" not in text and b"\x7f" not in text


def is_legible(values: Iterable[bytes | None]) -> bool:
    """Whether a whole batch has no escapes and no control characters.

    Then no text in it can contain one, and no look at single values is needed.
    """
    text = b"".join([value for value in values if value])
    if is_bare(text):
        return True
    return b"\\" not in text and b"\x7f" not in text and _has_c1_controls(text) is None


#: U+0080 to U+009F in UTF-8; all below U+0020 must be escaped in JSON.
_has_c1_controls = re.compile(rb"\xc2[\x80-\x9f]").search


class _Untyped(msgspec.Struct, tag_field="type", tag=""):
    """A second member for unions of one: msgspec demands the tag of real unions only."""


@lru_cache(maxsize=len(TOPICS))
def topical(topic: str) -> Topical | None:
    """The decoder of a topic; None if no event belongs there."""
    forms = {_envelope(event_type): _form(event_type) for event_type in types_of(topic)}
    if not forms:
        return None
    tagged: Any = Union[_Untyped, *forms]
    return Topical(msgspec.json.Decoder(tagged).decode, forms)


def _form(event_type: EventType) -> Form:
    compiled, newest = event_type.compiled, NEWEST[event_type.name]
    return Form(
        event_type,
        newest,
        newest.name,
        newest.version,
        compiled.nests,
        compiled.settle,
        KEYS.get(event_type.topic.key),
        event_type.version,
    )


#: What the key of an event must be, where it is not simply the userid.
KEYS: dict[KeyKind, Callable[[str | None, Any], str]] = {
    KeyKind.SYMBOL: lambda user_id, data: str(data.symbol),
    KeyKind.PAIR: lambda user_id, data: f"{data.base}{data.quote}",
    KeyKind.SESSION: lambda user_id, data: str(data.session) if user_id is None else user_id,
}


def _envelope(event_type: EventType) -> type[msgspec.Struct]:
    user = _Name if event_type.topic.needs_user else (_Name | None)
    return msgspec.defstruct(
        event_type.model.__name__ + "Event",
        # In the order in which `decode` takes them apart.
        [
            ("specversion", Literal["1.0"]),
            ("id", _Id),
            ("source", _Name),
            ("subject", _Name | None, None),
            ("time", str),
            ("datacontenttype", str | None, None),
            ("userid", user) if event_type.topic.needs_user else ("userid", user, None),
            ("tenantid", _Name | None, None),
            ("sequence", str | None, None),
            ("correlationid", _Id | None, None),
            ("causationid", _Id | None, None),
            ("traceparent", _Name | None, None),
            ("data", event_type.compiled.struct),
        ],
        kw_only=True,
        gc=False,
        tag_field="type",
        tag=event_type.full_name,
    )


#: Of the envelopes above: all attributes but the type.
_WIDTH = 13


class FastDecoder:
    """Decodes the records of one topic in one batch; `legible` is what `is_legible` says of it."""

    def __init__(self, topic: Topical, partitions: int | None, tenant: str, legible: bool) -> None:
        self._parse, self._forms = topic
        self._partitions = partitions
        self._tenant = tenant
        self._legible = legible
        self._timestamp = -1
        self._ingested_at = instants.EPOCH
        self._latest = instants.EPOCH

    def decode(self, record: Record) -> Event | None:
        """The event, if the record is plainly a valid one."""
        value, headers = record.value, record.headers
        if not value or (len(value) > limits.text_length_max and not _has_bounds(value)):
            return None
        if headers and (len(headers) != 1 or headers[0] not in _USUAL_HEADERS):
            return None
        try:
            return self._event(record, value)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
            return None

    def _event(self, record: Record, value: bytes) -> Event | None:
        wire = self._parse(value)
        form = self._forms.get(wire.__class__)
        if form is None:
            return None
        event_type, newest, name, version, nests, settle, key_of, wire_version = form
        attributes = astuple(wire)
        _, id, source, subject, written, media, user, tenant, number, corr, cause, trace, data = (
            attributes
        )
        # The type is the struct itself; the name of `data` stands without a value.
        strings = 2 * (_WIDTH - attributes.count(None)) + 1 + settle(data)
        if value.count(b'"') != 2 * strings and not _no_duplicates(value):
            return None
        if not self._legible and not _free_of_controls(value, attributes):
            return None
        if nests and value.count(b"{") + value.count(b"[") > limits.nesting_depth_max:
            return None
        time = instant(written)
        if record.timestamp != self._timestamp:
            self._ingest(record.timestamp)
        key, partition = record.key, record.partition
        wanted = user if key_of is None else key_of(user, data)
        if time > self._latest or key != wanted.encode():
            return None
        if self._partitions is not None and placed(key, self._partitions) != partition:
            return None
        if media is not None and media != "application/json":
            json_media(media)
        if number is not None and not is_sequence(number):
            return None
        if newest is not event_type:
            data = _newest(form, value)
        return Event(
            id,
            source,
            name,
            version,
            subject,
            time,
            user,
            tenant or self._tenant,
            number,
            corr,
            cause,
            trace,
            data,
            _tuple(Position, (record.topic, partition, record.offset)),
            self._ingested_at,
            value,
            wire_version,
        )

    def _ingest(self, timestamp: int) -> None:
        # Records of one batch mostly share their timestamp.
        self._ingested_at = instants.from_milliseconds(timestamp)
        self._latest = self._ingested_at + limits.time_ahead_max
        self._timestamp = timestamp


#: Keys come again and again, and murmur2 in Python takes microseconds.
placed = lru_cache(maxsize=limits.partition_cache_keys_max)(partition_of)


def _no_duplicates(value: bytes) -> bool:
    """Whether a generic parse finds as many strings as there are quotes for.

    It is asked when the typed parse does not: there are unknown members, nulls, empty texts, or
    quotes inside texts. It also sees to it that what the typed parse skipped is JSON.
    """
    if value.count(b"{") + value.count(b"[") > limits.nesting_depth_max:
        return False
    quotes = value.count(b'"')
    inside = value.count(b'\\"')
    if inside and b"\\\\" in value:
        # What looks like a quote inside a text may follow an escaped backslash that ends it.
        return False
    document = msgspec.json.decode(value)
    return "data_base64" not in document and 2 * free_strings(document) == quotes - inside


def _has_bounds(value: bytes) -> bool:
    """Whether the event is not too large, and no text in it is too long."""
    if len(value) > limits.event_size_bytes_max or b'\\"' in value:
        return False
    return max(map(len, value.split(b'"'))) <= limits.text_length_max


def _free_of_controls(value: bytes, attributes: tuple[Any, ...]) -> bool:
    """Whether no text has U+0000, and no attribute any control character."""
    if b"\\u0000" in value:
        return False
    text = "".join(filter(None, attributes[1:-1]))
    return text.isprintable() or not has_controls(text)


def _newest(form: Form, value: bytes) -> Any:
    data = msgspec.json.decode(value)["data"]
    event_type = form.event_type
    return form.newest.compiled.convert(upcast(event_type.name, event_type.version, data))

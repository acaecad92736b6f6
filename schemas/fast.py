"""The hot path of decoding: one parse per record, then the checks that no parser makes.

It accepts only what is plainly right and gives None for everything else, right or wrong; the
careful path then decides. So a mistake here can only be one of accepting too much, and a property
test compares the two.

Duplicate names are found without a second parse: in an event without white space before colons,
every member of an object writes `":`, so there are at least as many of these as members. If the
structs that came out have just as many, no name was there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Union

import msgspec
from msgspec.structs import astuple

from schemas import instants, limits
from schemas.attributes import has_controls, json_media, sequence
from schemas.compiled import free_names
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
    #: Whether it has objects of any depth.
    free: bool
    settle: Callable[[Any], None]
    names: Callable[[Any], int]
    key: Callable[[str | None, Any], str | None]


class Topical(NamedTuple):
    """What decodes the events of one topic: a parser for all its types, by their tags."""

    decode: Callable[[bytes], Any]
    forms: dict[type, Form]


_Name = Annotated[str, msgspec.Meta(min_length=1)]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.id_length_max)]
_USUAL_HEADERS = frozenset([*HEADERS, ("content-type", b"application/cloudevents+json")])
#: What makes the values of attributes worth a look: escapes, and control characters as they stand.
_ESCAPE, _DELETE = b"\\", b"\x7f"
_LOOSE_COLONS = (b" :", b"\t:", b"\n:", b"\r:")


class Survey(NamedTuple):
    """What a look over a whole batch tells of all of its values at once."""

    #: No escapes and nothing beyond ASCII: no attribute can contain a control character.
    bare: bool
    #: No white space before a colon.
    tight: bool


def survey(values: Iterable[bytes | None]) -> Survey:
    """Look over the values of a batch, all of them in one go."""
    text = b"".join([value for value in values if value])
    bare = text.isascii() and _ESCAPE not in text and _DELETE not in text
    return Survey(bare, not any(colon in text for colon in _LOOSE_COLONS))


@lru_cache(maxsize=len(TOPICS))
def topical(topic: str) -> Topical | None:
    """The decoder of a topic; None if no event belongs there."""
    forms = {_envelope(event_type): _form(event_type) for event_type in types_of(topic)}
    if not forms:
        return None
    tagged: Any = Union[tuple(forms)]  # noqa: UP007 - the members are known at run time only
    return Topical(msgspec.json.Decoder(tagged).decode, forms)


def _form(event_type: EventType) -> Form:
    compiled = event_type.compiled
    return Form(
        event_type,
        NEWEST[event_type.name],
        compiled.free,
        compiled.settle,
        compiled.names,
        KEYS[event_type.topic.key],
    )


KEYS: dict[KeyKind, Callable[[str | None, Any], str | None]] = {
    KeyKind.USER: lambda user_id, data: user_id,
    KeyKind.SYMBOL: lambda user_id, data: str(data.symbol),
    KeyKind.PAIR: lambda user_id, data: f"{data.base}{data.quote}",
    KeyKind.SESSION: lambda user_id, data: data.session if user_id is None else user_id,
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


class FastDecoder:
    """Decodes the records of one topic. `partitions` is the topic's number of them, if known."""

    def __init__(self, topic: Topical, partitions: int | None, tenant: str) -> None:
        self._parse, self._forms = topic
        self._partitions = partitions
        self._tenant = tenant
        self._timestamp = -1
        self._ingested_at = instants.EPOCH
        self._latest = instants.EPOCH

    def decode(self, record: Record, survey: Survey) -> Event | None:
        """The event, if the record is plainly a valid one."""
        value = record.value
        if not value or len(value) > limits.text_length_max or not _usual(record.headers):
            return None
        try:
            return self._event(record, value, survey)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None

    def _event(self, record: Record, value: bytes, survey: Survey) -> Event | None:
        wire = self._parse(value)
        form = self._forms[wire.__class__]
        attributes = astuple(wire)
        (_, id, source, subject, time_text, media, user, tenant, number, *_, data) = attributes
        correlation, causation, trace = attributes[9:12]
        names = form.names(data) + len(attributes) + 1 - attributes.count(None)
        if not _well_formed(value, names, survey, form.free):
            return None
        if not survey.bare and any(map(has_controls, filter(None, attributes[1:-1]))):
            return None
        form.settle(data)
        time = instant(time_text)
        if record.timestamp != self._timestamp:
            self._ingest(record.timestamp)
        if time > self._latest or not self._in_place(record, form.key(user, data)):
            return None
        if media is not None and media != "application/json":
            json_media(media)
        if number is not None:
            sequence(number)
        if form.newest is not form.event_type:
            data = _newest(form, value)
        return Event(
            id,
            source,
            form.newest.name,
            form.newest.version,
            subject,
            time,
            user,
            tenant or self._tenant,
            number,
            correlation,
            causation,
            trace,
            data,
            _position((record.topic, record.partition, record.offset)),
            self._ingested_at,
            value,
            form.event_type.version,
        )

    def _ingest(self, timestamp: int) -> None:
        # Records of one batch mostly share their timestamp.
        self._ingested_at = instants.from_milliseconds(timestamp)
        self._latest = self._ingested_at + limits.time_ahead_max
        self._timestamp = timestamp

    def _in_place(self, record: Record, wanted: str | None) -> bool:
        key = record.key
        if key is None or wanted is None or key != wanted.encode():
            return False
        return self._partitions is None or placed(key, self._partitions) == record.partition


def _position(place: tuple[str, int, int]) -> Position:
    return tuple.__new__(Position, place)


#: Keys come again and again, and murmur2 in Python takes microseconds.
placed = lru_cache(maxsize=limits.partition_cache_keys_max)(partition_of)


def _usual(headers: Sequence[tuple[str, bytes | None]]) -> bool:
    if not headers:
        return True
    return len(headers) == 1 and headers[0] in _USUAL_HEADERS


def _well_formed(value: bytes, names: int, survey: Survey, free: bool) -> bool:
    """Whether there is no duplicate name, U+0000 or too deep nesting, as far as a look can tell."""
    if not survey.tight and any(colon in value for colon in _LOOSE_COLONS):
        return False
    if not survey.bare and b"\\u0000" in value:
        return False
    if free and value.count(b"{") + value.count(b"[") > limits.nesting_depth_max:
        return False
    colons = value.count(b'":')
    if colons == names:
        return True
    # Unknown members, nulls, or quotes inside texts: count what is there. The whole is parsed, so
    # that what the typed parse skipped is seen to be JSON, too.
    if value.count(b"{") + value.count(b"[") > limits.nesting_depth_max:
        return False
    return free_names(msgspec.json.decode(value)) == colons


def _newest(form: Form, value: bytes) -> Any:
    data = msgspec.json.decode(value)["data"]
    event_type = form.event_type
    return form.newest.compiled.convert(upcast(event_type.name, event_type.version, data))

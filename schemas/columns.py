"""Events of one type as Arrow columns: a whole slice of a partition, decoded at once.

For folds that work column-wise. As with `schemas.fast`, only what is plainly right is accepted: a
slice with one event that is not gives None, and the row-wise decoder decides. So a mistake here can
only be one of accepting too much, and a property test compares the two.

Arrow's JSON reader refuses broken grammar, names given twice and numbers for strings. But it does
not see where one record ends and the next begins, and it passes over what is not in its schema,
also what is no JSON (NaN). Two counts make up for that. Every value begins and ends with a brace,
and inside an object no brace opens right after one that closed: so each value has whole objects,
and as many rows as values means one in each. And a text without escapes has two quotes for every
string, name or value: if a slice has just as many as its columns account for, then no record has
members that are unknown, null or there twice. (The columns never account for more strings than
there are, so the sums are equal only if they are in each record.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json

from schemas import limits
from schemas.column_kinds import (
    INSTANT_KIND,
    INTEGER,
    SEQUENCE_KIND,
    STRING,
    Doubtful,
    Kind,
    demand,
    holds,
    kind_of,
    one_of,
    text_kind,
)
from schemas.envelope import HEADERS, idempotency_key, source_number
from schemas.fast import Record, is_bare, placed
from schemas.instants import END, milliseconds
from schemas.records import Records
from schemas.registry import NEWEST, TYPES, EventType
from schemas.topics import KeyKind

#: Bytes of an idempotency key; characters of a UUID, and where its hyphens are.
KEY_BYTES = 16
_UUID_CHARACTERS = 36
_HYPHENS = (8, 13, 18, 23)

#: Events of a slice, evenly spread, that tell which members are parsed at first.
SAMPLES = 16


class Keys(Sequence[bytes]):
    """Idempotency keys, one after the other in one text."""

    def __init__(self, joined: bytes) -> None:
        self.joined = joined

    def __len__(self) -> int:
        return len(self.joined) // KEY_BYTES

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return list(self)[at]
        start = range(len(self))[at] * KEY_BYTES
        return self.joined[start : start + KEY_BYTES]


@dataclass(frozen=True)
class Columns:
    """Events of one type in one partition, in log order, as Arrow columns.

    The table has a row for each event and these columns: `id`, `source`, `subject`, `user_id`
    (string), `time` (timestamp in ms, UTC), `offset` (int64), and every field of the data under its
    name in the model: texts as string, decimals as decimal128 with as many decimals as the slice
    has at most, days as date32, instants as timestamp, integers as int64, and booleans. Defaults
    are filled in; what is optional and not there is null.
    """

    event_type: EventType
    #: Of all events.
    partition: int
    #: As in the table, as plain numbers.
    offsets: Sequence[int]
    table: pa.Table

    def keys(self) -> Keys:
        """The idempotency keys, as `schemas.envelope.idempotency_key` has them."""
        ids, sources = self.table["id"], self.table["source"].unique().to_pylist()
        digits = _uuid_digits(ids) if len(sources) == 1 else None
        if digits is None:
            pairs = zip(self.table["source"].to_pylist(), ids.to_pylist(), strict=True)
            return Keys(b"".join([idempotency_key(source, an_id) for source, an_id in pairs]))
        # All at once: one long number, mixed with as many times the source's.
        source = source_number(sources[0]).to_bytes(KEY_BYTES, "big")
        mixed = int(digits, 16) ^ int.from_bytes(source * len(ids), "big")
        return Keys(mixed.to_bytes(KEY_BYTES * len(ids), "big"))


def _uuid_digits(ids: pa.ChunkedArray) -> bytes | None:
    """The digits of ids that are all UUIDs as they are usually written; None if one is not."""
    lengths = pc.min_max(pc.binary_length(ids)).as_py()
    if lengths != {"min": _UUID_CHARACTERS, "max": _UUID_CHARACTERS}:
        return None
    text = b"".join([_text_of(chunk) for chunk in ids.chunks])
    count = len(ids)
    digits = text.translate(None, b"-")
    if len(digits) != (_UUID_CHARACTERS - len(_HYPHENS)) * count:
        return None
    if any(text[at::_UUID_CHARACTERS] != b"-" * count for at in _HYPHENS):
        return None
    return None if digits.translate(None, b"0123456789abcdef") else digits


def _text_of(array: Any) -> bytes:
    """What the texts of an array are, one after the other."""
    _, offsets, data = array.buffers()
    bounds = memoryview(offsets).cast("i")
    return bytes(memoryview(data)[bounds[array.offset] : bounds[array.offset + len(array)]])


@dataclass(frozen=True)
class Member:
    """One member of a JSON object and the column that it becomes."""

    column: str
    wire: str
    kind: Kind
    required: bool
    default: Any = None


@dataclass(frozen=True)
class Layout:
    """All members that an event of a type may have."""

    event_type: EventType
    attributes: tuple[Member, ...]
    data: tuple[Member, ...]
    #: The column of which the record's key is made.
    key: str


#: The attributes that become columns; the others are checked and left out.
_ENVELOPE = ("id", "source", "subject", "user_id", "time")
_KEYS = {KeyKind.USER: "user_id", KeyKind.SYMBOL: "symbol"}
_BARE_MEDIA: list[tuple[str, bytes]] = [("content-type", b"application/cloudevents+json")]

_LATEST = milliseconds(END) - 1
_AHEAD = int(limits.time_ahead_max.total_seconds() * 1000)

_document = msgspec.json.Decoder(dict[str, Any]).decode


def is_columnar(event_type: EventType) -> bool:
    """Whether it is a newest version with the person or the symbol as key, and all its fields are
    scalars that are not named as a column of the envelope is."""
    return _layout(event_type) is not None


def decode_columns(
    records: Sequence[Record], *, partitions: int | None, tenant: str
) -> Columns | None:
    """The events of records of one partition; None if not all are plainly valid and of one type.

    `partitions` is the number of partitions of the topic; without it, the records' partition is not
    compared with the keys'. `tenant` is the installation's; an event may name no other.
    """
    try:
        return _decode(records, partitions, tenant)
    except (Doubtful, pa.ArrowException, msgspec.MsgspecError, OverflowError, RecursionError):
        return None


def _decode(records: Sequence[Record], partitions: int | None, tenant: str) -> Columns:
    if (found := Records.of(records)) is None:
        raise Doubtful
    partition = found.partition
    _check_headers(found.headers)
    values = [value for value in found.values if value]
    demand(len(values) == len(found))
    text = _text(values)
    layout, attributes, data = _parsed(text, values, found.topic)
    envelope = _read(layout.attributes, attributes)
    demand(holds(pc.equal(envelope["tenantid"], tenant)))
    columns = {name: envelope[name] for name in _ENVELOPE}
    columns["offset"] = pa.array(found.offsets, INTEGER)
    columns |= _read(layout.data, data)
    _check_ahead(found.timestamps, columns["time"])
    _check_keys(found.keys, columns[layout.key], partition, partitions)
    return Columns(layout.event_type, partition, found.offsets, pa.table(columns))


def _text(values: Sequence[bytes]) -> bytes:
    """The values one after the other; none can take down the parser."""
    # So no text in one is too long, and none nests so deep that the parser runs out of stack.
    demand(max(map(len, values)) <= limits.text_length_max)
    text = b"\n".join([*values, b""])
    demand(is_bare(text))
    # It also fails on a slice that begins with null: https://github.com/apache/arrow/issues/47409
    if text.count(b"\n") == len(values):
        demand(text[:1] == b"{" and text[-2:-1] == b"}")
        demand(text.count(b"}\n{") == len(values) - 1)
    else:
        demand(all(value[:1] == b"{" and value[-1:] == b"}" for value in values))
    return text


def _parsed(
    text: bytes, values: Sequence[bytes], topic: str
) -> tuple[Layout, Mapping[str, Any], Mapping[str, Any]]:
    """The attributes and the data, before any check of a value.

    A member that the schema has and no event takes as long to parse as one that is there, and so
    does one out of turn. So the first schema has those that some of the events have, in their
    order; only if there are others, too, it is parsed again with all that may be there.
    """
    documents = [_document(value) for value in values[:: len(values) // SAMPLES or 1]]
    layout = _layout_of(documents, topic)
    attributes = _present(layout.attributes, documents)
    data = _present(layout.data, [document["data"] for document in documents])
    quotes = text.count(b'"')
    for outer, inner in ((attributes, data), (layout.attributes, layout.data)):
        of_attributes, of_data = _parse(text, len(values), outer, inner)
        if quotes == 2 * _strings(outer, inner, of_attributes, of_data):
            return layout, of_attributes, of_data
    raise Doubtful


def _layout_of(documents: Sequence[dict[str, Any]], topic: str) -> Layout:
    """The layout of the slice, by some of its events; the others' types are compared later."""
    name = documents[0].get("type")
    demand(all(each.get("type") == name for each in documents))
    demand(all(isinstance(each.get("data"), dict) for each in documents))
    event_type = TYPES.get(name) if isinstance(name, str) else None
    layout = None if event_type is None else _layout(event_type)
    if layout is None or layout.event_type.topic.name != topic:
        raise Doubtful
    return layout


def _present(members: Sequence[Member], objects: Iterable[dict[str, Any]]) -> list[Member]:
    """The members that the objects have, in their order, and those that must be there."""
    known = {member.wire: member for member in members}
    names = dict.fromkeys(name for each in objects for name in each)
    names |= dict.fromkeys(member.wire for member in members if member.required)
    return [known[name] for name in names if name in known]


def _parse(
    text: bytes, count: int, attributes: Sequence[Member], data: Sequence[Member]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    inner = pa.struct([(member.wire, member.kind.json) for member in data])
    fields = [pa.field(member.wire, member.kind.json) for member in attributes]
    schema = pa.schema([*fields, pa.field("data", inner)])
    table = json.read_json(
        pa.BufferReader(text),
        read_options=json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    batch = table.combine_chunks().to_batches()[0]
    objects = batch.column("data")
    demand(len(batch) == count and objects.null_count == 0)
    return (
        {member.wire: batch.column(member.wire) for member in attributes},
        {member.wire: objects.field(member.wire) for member in data},
    )


def _strings(
    attributes: Sequence[Member],
    data: Sequence[Member],
    of_attributes: Mapping[str, Any],
    of_data: Mapping[str, Any],
) -> int:
    """How many strings, names and values, the columns account for; `data` is a name, too."""
    total = len(of_attributes["type"])
    for members, columns in ((attributes, of_attributes), (data, of_data)):
        for member in members:
            column = columns[member.wire]
            there = len(column) - column.null_count
            demand(there == len(column) or not member.required)
            total += there * (2 if member.kind.json is STRING else 1)
    return total


def _read(members: Sequence[Member], parsed: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of members, with their values checked."""
    columns = {}
    count = len(next(iter(parsed.values()), ()))
    for member in members:
        column = parsed.get(member.wire)
        if column is None or column.null_count == count:
            column = pa.nulls(count, member.kind.column)
        else:
            column = member.kind.read(column)
        if member.default is not None:
            column = pc.fill_null(column, member.default)
        columns[member.column] = column
    return columns


def _check_headers(headers: Sequence[Any]) -> None:
    demand(
        list(headers[0] or ()) in ([], HEADERS, _BARE_MEDIA)
        and headers.count(headers[0]) == len(headers)
    )


def _check_ahead(timestamps: Sequence[int], times: Any) -> None:
    # A record from before any event, or long after, is not for here: Python may have no such time.
    least, most = min(timestamps), max(timestamps)
    demand(least >= 0 and most <= _LATEST + _AHEAD)
    written = times.cast(INTEGER)
    if pc.max(written).as_py() > least + _AHEAD:
        ingested = pa.array(timestamps, INTEGER)
        demand(holds(pc.less_equal(written, pc.add(ingested, _AHEAD))))


def _check_keys(
    keys: Sequence[bytes | None], wanted: Any, partition: int, partitions: int | None
) -> None:
    demand(pa.array(keys, STRING).equals(wanted))
    if partitions is not None:
        different = pc.unique(wanted).to_pylist()
        demand(all(placed(key.encode(), partitions) == partition for key in different))


@cache  # as many as there are types
def _layout(event_type: EventType) -> Layout | None:
    key = _KEYS.get(event_type.topic.key)
    if key is None or NEWEST[event_type.name] is not event_type:
        return None
    attributes = _attributes(event_type)
    data = []
    for name, info in event_type.model.model_fields.items():
        kind = kind_of(info.annotation, info.metadata)
        if kind is None or name in (*_ENVELOPE, "offset"):
            return None
        default = None if info.is_required() else info.get_default(call_default_factory=True)
        data.append(Member(name, str(info.alias or name), kind, info.is_required(), default))
    return Layout(event_type, attributes, tuple(data), key)


def _attributes(event_type: EventType) -> tuple[Member, ...]:
    name, an_id = text_kind(1), text_kind(1, limits.id_length_max)
    return tuple(
        Member(column, column.replace("_", ""), kind, required)
        for column, kind, required in (
            ("specversion", one_of("1.0"), True),
            ("id", an_id, True),
            ("source", name, True),
            ("type", one_of(event_type.full_name), True),
            ("subject", name, False),
            ("time", INSTANT_KIND, True),
            ("datacontenttype", one_of("application/json"), False),
            ("user_id", name, event_type.topic.needs_user),
            ("tenantid", name, False),
            ("sequence", SEQUENCE_KIND, False),
            ("correlationid", an_id, False),
            ("causationid", an_id, False),
            ("traceparent", name, False),
        )
    )

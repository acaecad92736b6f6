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

from collections.abc import Sequence
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
from schemas.envelope import HEADERS, UUID_PATTERN, idempotency_key, source_number
from schemas.fast import Record, is_bare, placed
from schemas.instants import END, milliseconds
from schemas.registry import NEWEST, TYPES, EventType
from schemas.topics import KeyKind


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
    table: pa.Table

    def keys(self) -> list[bytes]:
        """The idempotency keys, as `schemas.envelope.idempotency_key` has them."""
        ids, sources = self.table["id"], self.table["source"].unique().to_pylist()
        if len(sources) > 1 or not holds(pc.match_substring_regex(ids, f"^{UUID_PATTERN}$")):
            return list(map(idempotency_key, self.table["source"].to_pylist(), ids.to_pylist()))
        # All at once: one long number, mixed with as many times the source's.
        count = len(ids)
        digits = "".join(ids.to_pylist()).replace("-", "")
        source = source_number(sources[0]).to_bytes(16, "big")
        mixed = int(digits, 16) ^ int.from_bytes(source * count, "big")
        joined = mixed.to_bytes(16 * count, "big")
        return [joined[at : at + 16] for at in range(0, 16 * count, 16)]


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
    options: json.ParseOptions


class _Typed(msgspec.Struct):
    type: str


#: The attributes that become columns; the others are checked and left out.
_ENVELOPE = ("id", "source", "subject", "user_id", "time")
_KEYS = {KeyKind.USER: "user_id", KeyKind.SYMBOL: "symbol"}
_BARE_MEDIA: list[tuple[str, bytes]] = [("content-type", b"application/cloudevents+json")]

_LATEST = milliseconds(END) - 1
_AHEAD = int(limits.time_ahead_max.total_seconds() * 1000)

_typed = msgspec.json.Decoder(_Typed).decode


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
    demand(len({(record.topic, record.partition) for record in records}) == 1)
    values = [record.value for record in records]
    text = _text(values)
    layout = _layout_of(values[0] or b"", records[0].topic)
    # It saves the parse of a mixed slice; the types themselves are compared below.
    demand(text.count(f'"{layout.event_type.full_name}"'.encode()) >= len(values))
    attributes, data = _parsed(text, len(values), layout)
    demand(text.count(b'"') == 2 * _strings(layout, attributes, data))
    envelope = _read(layout.attributes, attributes)
    demand(holds(pc.equal(envelope["tenantid"], tenant)))
    columns = {name: envelope[name] for name in _ENVELOPE}
    columns["offset"] = pa.array([record.offset for record in records], INTEGER)
    columns |= _read(layout.data, data)
    _check_headers(records)
    _check_ahead(records, columns["time"])
    _check_keys(records, columns[layout.key], partitions)
    return Columns(layout.event_type, records[0].partition, pa.table(columns))


def _text(values: list[bytes | None]) -> bytes:
    """The values one after the other; none can take down the parser."""
    array = pa.array(values, pa.binary())
    demand(array.null_count == 0)
    # So no text in one is too long, and none nests so deep that the parser runs out of stack.
    demand(pc.max(pc.binary_length(array)).as_py() <= limits.text_length_max)
    # It also fails on a slice that begins with null: https://github.com/apache/arrow/issues/47409
    demand(holds(pc.starts_with(array, "{")) and holds(pc.ends_with(array, "}")))
    text = b"\n".join([*filter(None, values), b""])
    demand(is_bare(text))
    return text


def _layout_of(value: bytes, topic: str) -> Layout:
    """The layout of the slice, by its first event."""
    event_type = TYPES.get(_typed(value).type)
    layout = None if event_type is None else _layout(event_type)
    if layout is None or layout.event_type.topic.name != topic:
        raise Doubtful
    return layout


def _parsed(text: bytes, count: int, layout: Layout) -> tuple[Any, Any]:
    """The attributes and the data, before any check of a value."""
    table = json.read_json(
        pa.BufferReader(text),
        read_options=json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=layout.options,
    )
    batch = table.combine_chunks().to_batches()[0]
    data = batch.column("data")
    demand(len(batch) == count and data.null_count == 0)
    return batch.column, data.field


def _strings(layout: Layout, attributes: Any, data: Any) -> int:
    """How many strings, names and values, the columns account for."""
    total = len(attributes("data"))
    for members, column_of in ((layout.attributes, attributes), (layout.data, data)):
        for member in members:
            column = column_of(member.wire)
            there = len(column) - column.null_count
            demand(there == len(column) or not member.required)
            total += there * (2 if member.kind.json is STRING else 1)
    return total


def _read(members: Sequence[Member], column_of: Any) -> dict[str, Any]:
    """The columns of members, with their values checked."""
    columns = {}
    for member in members:
        column = column_of(member.wire)
        if column.null_count == len(column):
            column = pa.nulls(len(column), member.kind.column)
        else:
            column = member.kind.read(column)
        if member.default is not None:
            column = pc.fill_null(column, member.default)
        columns[member.column] = column
    return columns


def _check_headers(records: Sequence[Record]) -> None:
    headers = [record.headers for record in records]
    demand(
        list(headers[0] or ()) in ([], HEADERS, _BARE_MEDIA)
        and headers.count(headers[0]) == len(headers)
    )


def _check_ahead(records: Sequence[Record], times: Any) -> None:
    ingested = pa.array([record.timestamp for record in records], INTEGER)
    # A record from before any event, or long after, is not for here: Python may have no such time.
    demand(pc.min(ingested).as_py() >= 0 and pc.max(ingested).as_py() <= _LATEST + _AHEAD)
    demand(holds(pc.less_equal(times.cast(INTEGER), pc.add(ingested, _AHEAD))))


def _check_keys(records: Sequence[Record], wanted: Any, partitions: int | None) -> None:
    keys = [record.key for record in records]
    demand(pa.array(keys, STRING).equals(wanted))
    if partitions is not None:
        partition = records[0].partition
        demand(all(placed(key, partitions) == partition for key in set(keys)))


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
    fields = [pa.field("data", pa.struct([(member.wire, member.kind.json) for member in data]))]
    fields += [pa.field(member.wire, member.kind.json) for member in attributes]
    options = json.ParseOptions(
        explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore"
    )
    return Layout(event_type, attributes, tuple(data), key, options)


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

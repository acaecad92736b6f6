"""The SQL of a table of rows: load by key, upsert and delete, each for many rows at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import msgspec
import pyarrow as pa
from msgspec.structs import astuple

from projections.postgres import array_text
from projections.tables import Column, Key, Row, Table, Want

_encode_json = msgspec.json.Encoder(decimal_format="string").encode

#: Types whose arrays travel as one text each.
_AS_TEXT = ("text", "jsonb", "numeric")

#: SQL, and the values of its parameters.
Statement = tuple[str, list[Any]]

#: Combinations of statements whose text is remembered.
COMBINED_MAX = 500

_PARAMETER = re.compile(r"\$(\d+)")


@cache
def load_sql(table: Table[Any], depth: int, has_low: bool, has_high: bool) -> str:
    """Rows whose first ``depth`` key columns equal one of the given prefixes (arrays).

    With bounds, which follow as arrays of their own, the next key column lies between them. Each
    is a plain comparison, so that the primary key's index is read only between the bounds.
    """
    keys = table.key[:depth]
    arrays = [_array(table.column(name), i) for i, name in enumerate(keys, 1)]
    names = [f"k{i}" for i in range(depth)]
    on = [f"t.{name} = w.{alias}" for name, alias in zip(keys, names, strict=True)]
    for bound, given, operator in (("low", has_low, ">="), ("high", has_high, "<=")):
        if given:
            column = _bounded(table, depth)
            arrays.append(_array(column, len(arrays) + 1))
            names.append(bound)
            on.append(f"t.{_quoted(column.name)} {operator} w.{bound}")
    columns = ", ".join(f"t.{_quoted(column.name)}" for column in table.columns)
    return (
        f"select distinct on ({', '.join('t.' + _quoted(name) for name in table.key)}) {columns}"
        f" from unnest({', '.join(arrays)}) as w({', '.join(names)})"
        f" join {table.name} t on {' and '.join(on)}"
    )


@cache
def upsert_sql(table: Table[Any], *, texts: bool = False) -> str:
    """Insert or replace rows given as one array for each column; `texts`: all as one text each."""
    columns = table.columns
    changed = [_quoted(column.name) for column in columns if column.name not in table.key]
    action = (
        "do update set " + ", ".join(f"{name} = excluded.{name}" for name in changed)
        if changed
        else "do nothing"
    )
    return f"{_insert_sql(table, texts)} {action}"


@cache
def add_sql(table: Table[Any], *, texts: bool = False) -> str:
    """Insert rows, or add their sums to those that are there; parameters as for an upsert."""
    sums = ", ".join(f"{s} = t.{s} + excluded.{s}" for s in map(_quoted, table.sums))
    return f"{_insert_sql(table, texts)} do update set {sums}"


def _insert_sql(table: Table[Any], texts: bool) -> str:
    """Rows given as one array for each column, up to what is done where the key is there."""
    arrays = ", ".join(_array(column, i, texts) for i, column in enumerate(table.columns, 1))
    names = ", ".join(_quoted(column.name) for column in table.columns)
    key = ", ".join(_quoted(name) for name in table.key)
    return (
        f"insert into {table.name} as t ({names}) select * from unnest({arrays})"
        f" on conflict ({key})"
    )


@cache
def delete_sql(table: Table[Any]) -> str:
    """Delete rows whose keys are given as one array for each key column."""
    arrays = ", ".join(_array(table.column(name), i) for i, name in enumerate(table.key, 1))
    names = ", ".join(_quoted(name) for name in table.key)
    on = " and ".join(f"t.{_quoted(name)} = k.{_quoted(name)}" for name in table.key)
    return f"delete from {table.name} t using unnest({arrays}) as k({names}) where {on}"


def combined(parts: Sequence[Statement]) -> Statement:
    """One statement that does what all of these do, each to rows of its own: one round trip."""
    if len(parts) == 1:
        return parts[0]
    sql = _combined_sql(tuple((sql, len(values)) for sql, values in parts))
    return sql, [value for _, values in parts for value in values]


@lru_cache(maxsize=COMBINED_MAX)
def _combined_sql(parts: tuple[tuple[str, int], ...]) -> str:
    named, first = [], 0
    for number, (sql, width) in enumerate(parts):
        named.append(f"s{number} as (\n{_counted_from(first, sql)}\n)")
        first += width
    return f"with {', '.join(named)} select"


def _counted_from(first: int, sql: str) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + first}", sql)


def columns_of(table: Table[Any], rows: Sequence[Row]) -> list[Sequence[Any]]:
    """The rows as one sequence for each column, JSON columns encoded."""
    return [
        _in_json(values) if column.is_json else values
        for column, values in zip(table.columns, _transposed_rows(table, rows), strict=True)
    ]


def arrays_of(table: Table[Any], rows: Sequence[Row]) -> list[Sequence[Any]]:
    """The same as parameters of a statement."""
    values = zip(table.columns, columns_of(table, rows), strict=True)
    return [_parameter(column, each) for column, each in values]


def arrays_of_keys(table: Table[Any], keys: Sequence[Key], width: int) -> list[Sequence[Any]]:
    """The first ``width`` columns of keys as parameters of a statement."""
    values = zip(table.key, transposed(keys, width), strict=False)
    return [_parameter(table.column(name), each) for name, each in values]


def arrays_of_wants(
    table: Table[Any], depth: int, wants: Sequence[Want], has_low: bool, has_high: bool
) -> list[Sequence[Any]]:
    """Prefixes and bounds as parameters of ``load_sql``."""
    arrays = arrays_of_keys(table, [want.prefix for want in wants], depth)
    if has_low:
        arrays.append(_parameter(_bounded(table, depth), [want.low for want in wants]))
    if has_high:
        arrays.append(_parameter(_bounded(table, depth), [want.high for want in wants]))
    return arrays


def _bounded(table: Table[Any], depth: int) -> Column:
    return table.column(table.key[depth])


def _parameter(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    if column.sql_type == "numeric":
        values = [None if value is None else str(value) for value in values]
    return array_text.of_texts(values) if column.sql_type in _AS_TEXT else values


def _transposed_rows(table: Table[Any], rows: Sequence[Row]) -> Sequence[Sequence[Any]]:
    if not rows:
        return [()] * len(table.columns)
    return list(zip(*map(astuple, rows), strict=True))


def _in_json(values: Sequence[Any]) -> list[str | None]:
    return [None if value is None else _encode_json(value).decode() for value in values]


def arrays_of_columns(table: Table[Any], rows: pa.Table) -> list[Sequence[Any]]:
    """The columns of rows as parameters of a statement of texts."""
    return [array_text.of_column(rows[column.name]) for column in table.columns]


def transposed(keys: Sequence[Key], width: int) -> list[list[Any]]:
    return [[key[i] for key in keys] for i in range(width)]


@cache
def _json_columns(table: Table[Any]) -> tuple[tuple[int, Any], ...]:
    return tuple(
        (at, msgspec.json.Decoder(column.python_type).decode)
        for at, column in enumerate(table.columns)
        if column.is_json
    )


def row_of(table: Table[Any], record: Sequence[Any]) -> Row:
    """The struct of a loaded record."""
    values = list(record)
    for at, decode in _json_columns(table):
        if values[at] is not None:
            values[at] = decode(values[at])
    row: Row = table.row(*values)
    return row


def _array(column: Column, number: int, texts: bool = False) -> str:
    as_text = "::text" if texts or column.sql_type in _AS_TEXT else ""
    return f"${number}{as_text}::{column.sql_type}[]"


def _quoted(name: str) -> str:
    return f'"{name}"'

"""Rows and tables of read models, described once for every store.

A row is a frozen struct; its field types decide the column types. Stores write rows by column
name and load them by key, so that a fold never sees SQL.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from operator import attrgetter
from typing import (
    Any,
    Generic,
    NamedTuple,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

import msgspec

Key = tuple[Any, ...]


class Row(msgspec.Struct, frozen=True):
    """One row of a read model; immutable, so that a refused event leaves no trace."""


R = TypeVar("R", bound=Row)

_SQL_TYPES: dict[Any, str] = {
    str: "text",
    int: "bigint",
    bool: "boolean",
    Decimal: "numeric",
    datetime: "timestamptz",
    date: "date",
    UUID: "uuid",
    bytes: "bytea",
}


@dataclass(frozen=True)
class Column:
    """A column: its name, its SQL type, and the Python type that a loaded value has."""

    name: str
    sql_type: str
    python_type: Any

    @property
    def is_json(self) -> bool:
        return self.sql_type == "jsonb"


@dataclass(frozen=True, eq=False)
class Table(Generic[R]):
    """A table of rows.

    ``key`` names the primary key's columns in order, the person's first where there is one.
    ``unit`` is how many leading key columns are loaded together: 1 loads all rows of a person
    at once, ``len(key)`` loads single rows. ``cached`` False has rows forgotten at the end of each
    batch: for a table that other lanes write, too, whose cached rows would be stale, and for rows
    that are written and hardly read again.

    ``sums`` names columns that folds only add to (``Rows.add``); the other columns are the key. A
    table that is ``appended`` gets new rows only (``Rows.append``), whose keys a fold can't repeat,
    a position among them. Neither is ever read by a fold.
    """

    name: str
    row: type[R]
    key: tuple[str, ...]
    unit: int
    cached: bool = True
    sums: tuple[str, ...] = ()
    appended: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.unit <= len(self.key):
            raise ValueError(f"{self.name}: unit must be between 1 and {len(self.key)}")
        unknown = set(self.key) - set(self.row.__struct_fields__)
        if unknown:
            raise ValueError(f"{self.name}: key columns {sorted(unknown)} are not fields")
        if self.sums and {*self.key, *self.sums} != set(self.row.__struct_fields__):
            raise ValueError(f"{self.name}: every column is of the key or a sum")
        object.__setattr__(self, "columns", _columns_of(self.row))
        object.__setattr__(self, "key_of", _key_getter(self.key))

    columns: tuple[Column, ...] = ()
    key_of: Callable[[R], Key] = cast(Any, None)  # noqa: RUF009 - set in __post_init__

    @property
    def written_only(self) -> bool:
        """Whether no fold may read it."""
        return bool(self.sums) or self.appended

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


class Want(NamedTuple):
    """Rows to load: those whose key begins with ``prefix``.

    With ``low`` or ``high`` only those whose next key column lies between them, both included;
    None leaves that side open.
    """

    table: Table[Any]
    prefix: Key
    low: Any = None
    high: Any = None

    @property
    def is_range(self) -> bool:
        return self.low is not None or self.high is not None


def _key_getter(key: tuple[str, ...]) -> Callable[[Any], Key]:
    getter = attrgetter(*key)
    if len(key) > 1:
        return cast(Callable[[Any], Key], getter)
    return lambda row: (getter(row),)


def _columns_of(row: type[Row]) -> tuple[Column, ...]:
    hints = get_type_hints(row)
    return tuple(
        Column(name, _sql_type(hints[name]), hints[name]) for name in row.__struct_fields__
    )


def _sql_type(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        inner = [arg for arg in get_args(hint) if arg is not type(None)]
        if len(inner) == 1:
            return _sql_type(inner[0])
    return _SQL_TYPES.get(hint, "jsonb")

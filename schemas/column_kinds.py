"""How the fields of events become Arrow columns: one reader for each kind of field.

A reader takes a column of JSON values and gives the column of the values they mean, or refuses the
whole column if one of them is not plainly right.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
import pyarrow as pa
import pyarrow.compute as pc

from schemas import limits
from schemas.events.fields import DAY, INSTANT, NOT_NEGATIVE, POSITIVE, SIGNED, OneOf, Scalar
from schemas.instants import EARLIEST, END, milliseconds
from schemas.numbers import DECIMAL_PATTERN

#: A column as it was parsed -> its values; raises Doubtful if one is not plainly right.
Read = Callable[[Any], Any]

STRING, INTEGER, BOOLEAN = pa.string(), pa.int64(), pa.bool_()
TIME, DAY_TYPE = pa.timestamp("ms", "UTC"), pa.date32()
_DIGITS = limits.decimal_integer_digits_max + limits.decimal_fraction_digits_max
_EARLIEST, _LATEST = milliseconds(EARLIEST), milliseconds(END) - 1
_FIRST_DAY = pa.scalar(date.min, DAY_TYPE)


class Kind(NamedTuple):
    """How a member stands in JSON (string, int64 or bool), the type of its column, its reader."""

    json: pa.DataType
    column: pa.DataType
    read: Read


class Doubtful(Exception):
    """Not plainly right: the row-wise decoder must look."""


def demand(condition: bool) -> None:
    if not condition:
        raise Doubtful


def holds(mask: Any) -> bool:
    """Whether it is true wherever there is a value."""
    return pc.all(mask).as_py() is not False


def _read_text(least: int, most: int, column: Any) -> Any:
    lengths = pc.binary_length(column)
    demand(least == 0 or pc.min(lengths).as_py() >= least)
    demand(most >= limits.text_length_max or pc.max(lengths).as_py() <= most)
    return column


def _read_pattern(pattern: str, column: Any) -> Any:
    demand(holds(pc.match_substring_regex(column, pattern)))
    return column


def _read_one_of(values: Any, column: Any) -> Any:
    demand(holds(pc.is_in(column.drop_null(), value_set=values)))
    return column


def _read_decimal(kind: Scalar, column: Any) -> Any:
    _read_pattern(DECIMAL_PATTERN, column)
    point = pc.find_substring(column, ".")
    after = pc.subtract(pc.subtract(pc.binary_length(column), point), 1)
    decimals = pc.max(pc.if_else(pc.less(point, 0), 0, after)).as_py()
    numbers = column.cast(pa.decimal128(_DIGITS, decimals))
    if kind is not SIGNED:
        least = pc.min(numbers).as_py()
        demand(least > 0 if kind is POSITIVE else least >= 0)
    return numbers


def _read_day(column: Any) -> Any:
    days = column.cast(DAY_TYPE)
    demand(holds(pc.greater_equal(days, _FIRST_DAY)))
    return days


def _read_instant(column: Any) -> Any:
    # Of what Arrow takes for a time with milliseconds, these are the ones of the plain form.
    demand(holds(pc.equal(pc.binary_length(column), 24)) and holds(pc.ends_with(column, "Z")))
    demand(not pc.any(pc.match_substring(column, " ")).as_py())
    times = column.cast(TIME)
    _read_integer(_EARLIEST, _LATEST, times.cast(INTEGER))
    return times


def _read_integer(least: int, most: int, column: Any) -> Any:
    demand(least <= pc.min(column).as_py() and pc.max(column).as_py() <= most)
    return column


def text_kind(least: int, most: int = limits.text_length_max) -> Kind:
    return Kind(STRING, STRING, partial(_read_text, least, most))


def one_of(*values: str) -> Kind:
    return Kind(STRING, STRING, partial(_read_one_of, pa.array(values, STRING)))


INSTANT_KIND = Kind(STRING, TIME, _read_instant)
SEQUENCE_KIND = Kind(STRING, STRING, partial(_read_pattern, "^[0-9]{1,19}$"))


def kind_of(annotation: Any, facts: Sequence[Any]) -> Kind | None:
    """How a field is read; None if it is no scalar."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return kind_of(inner, [*more, *facts])
    if get_origin(annotation) in (Union, types.UnionType):
        inner, *_ = (each for each in get_args(annotation) if each is not types.NoneType)
        return kind_of(inner, ())
    facts = [each for fact in facts for each in getattr(fact, "metadata", [fact])]
    for fact in facts:
        if isinstance(fact, Scalar):
            return _scalar(fact)
        if isinstance(fact, OneOf):
            return one_of(*sorted(fact.values))
    if get_origin(annotation) is Literal:
        return one_of(*get_args(annotation))
    if annotation is bool:
        return Kind(BOOLEAN, BOOLEAN, lambda column: column)
    if annotation is str:
        return text_kind(*_bounds(facts, 0, limits.text_length_max))
    if annotation is int:
        least, most = _bounds(facts, -limits.integer_max, limits.integer_max)
        return Kind(INTEGER, INTEGER, partial(_read_integer, least, most))
    return None


def _scalar(kind: Scalar) -> Kind | None:
    if kind in (SIGNED, NOT_NEGATIVE, POSITIVE):
        return Kind(STRING, pa.decimal128(_DIGITS, 0), partial(_read_decimal, kind))
    if kind is DAY:
        return Kind(STRING, DAY_TYPE, _read_day)
    return INSTANT_KIND if kind is INSTANT else None


def _bounds(facts: Sequence[Any], least: int, most: int) -> tuple[int, int]:
    for fact in facts:
        if isinstance(fact, annotated_types.MinLen):
            least = fact.min_length
        elif isinstance(fact, annotated_types.MaxLen):
            most = fact.max_length or 0
        elif isinstance(fact, annotated_types.Ge) and isinstance(fact.ge, int):
            least = fact.ge
        elif isinstance(fact, annotated_types.Le) and isinstance(fact.le, int):
            most = fact.le
        else:
            raise TypeError(f"no column for the bound {fact!r}: add it here")
    return least, most

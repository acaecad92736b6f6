"""The fast form of the models: msgspec structs made from the pydantic models' own declarations.

A struct has the model's fields under the same names. Scalars (decimals, days, times) are decoded as
text and then turned into values by the same function that the model uses: `settle` does that, in
place, fills in defaults, and raises Invalid. It says how many JSON strings (names and values) the
struct was decoded from: `schemas.fast` finds duplicate names by it.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import annotated_types
import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import astuple, force_setattr
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas.events.fields import OneOf, Scalar

Settle = Callable[[Any], Any]
Strings = Callable[[Any], int]


@dataclass(frozen=True)
class Shape:
    """How one annotation is decoded: its msgspec type, what settles it, what counts its strings.

    `strings` is None for what is one JSON string itself; it comes before `settle`, and settles
    structs inside.
    """

    type: Any
    settle: Settle | None = None
    strings: Strings | None = None


@dataclass(frozen=True)
class Compiled:
    """The struct of a model with what must be done after decoding it."""

    struct: type[msgspec.Struct]
    #: Settles a struct in place, and counts the JSON strings that it was decoded from.
    settle: Strings
    #: Whether it has arrays or objects inside, which may nest to any depth.
    nests: bool

    def convert(self, data: object) -> Any:
        """The settled struct of parsed JSON; raises msgspec.ValidationError or Invalid."""
        value = msgspec.convert(data, self.struct)
        self.settle(value)
        return value


@cache  # as many as there are models; equal structs must be of one class
def compile_model(model: type[BaseModel]) -> Compiled:
    """Make the struct of a model."""
    columns: list[Any] = []
    rename: dict[str, str] = {}
    settles: list[tuple[int, str, Settle]] = []
    special: list[tuple[int, Strings]] = []
    for at, (name, info) in enumerate(model.model_fields.items()):
        shape = _shape(info.annotation, info.metadata)
        rename[name] = str(info.alias or name)
        columns.append(_column(name, shape, info))
        settle = _settle_of(shape, info)
        if settle is not None:
            settles.append((at, name, settle))
        if shape.strings is not None or _has_default_value(info):
            special.append((at, shape.strings or _one_string))
    struct = msgspec.defstruct(
        model.__name__, columns, kw_only=True, frozen=True, gc=False, rename=rename
    )
    nests = any(strings not in (_no_strings, _one_string) for _, strings in special)
    return Compiled(struct, _settling(len(columns), settles, special), nests)


def free_strings(value: object) -> int:
    """How many JSON strings, names and values, a parsed JSON value has."""
    if isinstance(value, str):
        return 1
    if isinstance(value, dict):
        return len(value) + sum(map(free_strings, value.values()))
    if isinstance(value, list):
        return sum(map(free_strings, value))
    return 0


def _one_string(value: object) -> int:
    return 1


def _no_strings(value: object) -> int:
    return 0


def _settling(
    width: int, settles: list[tuple[int, str, Settle]], special: list[tuple[int, Strings]]
) -> Strings:
    # A field counts twice if it is there, for its name and its value. Special are those whose value
    # is not one string, and those with a default: UNSET says that they were not there. A null looks
    # like a field that is missing: the count is then too low, and the caller has to look itself. It
    # is never too high.
    def plain(struct: Any) -> int:
        values = astuple(struct)
        for at, name, read in settles:
            value = values[at]
            if value is not None:
                force_setattr(struct, name, read(value))
        return 2 * (width - values.count(None))

    def mixed(struct: Any) -> int:
        values = astuple(struct)
        total = 2 * (width - values.count(None))
        for at, strings in special:
            value = values[at]
            if value is UNSET:
                total -= 2
            elif value is not None:
                total += strings(value) - 1
        for at, name, read in settles:
            value = values[at]
            if value is not None:
                force_setattr(struct, name, read(value))
        return total

    return mixed if special else plain


def _column(name: str, shape: Shape, info: FieldInfo) -> tuple[Any, ...]:
    if info.is_required():
        return (name, shape.type)
    if _has_default_value(info):
        # Not the default itself: whether the member was there must be seen to count names.
        return (name, shape.type | UnsetType, UNSET)
    return (name, shape.type, None)


def _has_default_value(info: FieldInfo) -> bool:
    return not info.is_required() and info.get_default(call_default_factory=True) is not None


def _settle_of(shape: Shape, info: FieldInfo) -> Settle | None:
    if not _has_default_value(info):
        return shape.settle
    settle, default = shape.settle, _default_of(info)

    def filled(value: Any) -> Any:
        if value is UNSET:
            return default()
        return value if settle is None else settle(value)

    return filled


def _default_of(info: FieldInfo) -> Callable[[], Any]:
    default = info.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        # Structs all the way down: one that was left out equals one that was written out.
        compiled = compile_model(type(default))
        written = default.model_dump(mode="json", by_alias=True, exclude_none=True)
        return lambda: compiled.convert(written)
    if info.default_factory is None:
        return info.get_default
    # Asked itself: through pydantic each time it would be inspected anew, at the price of decoding
    # several events. One that wants the other members fails at the first.
    return cast(Callable[[], Any], info.default_factory)


def _shape(annotation: Any, metadata: Iterable[Any]) -> Shape:
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _shape(inner, [*more, *metadata])
    facts = list(_facts(metadata))
    for fact in facts:
        if isinstance(fact, Scalar):
            return Shape(str, settle=fact.read)
        if isinstance(fact, OneOf):
            return Shape(Literal[tuple(sorted(fact.values))])
    if get_origin(annotation) in (Union, types.UnionType):
        return _optional(annotation)
    if get_origin(annotation) is list:
        return _list(annotation)
    if get_origin(annotation) is dict:
        return _dict(annotation)
    if get_origin(annotation) is Literal:
        return Shape(annotation)
    if annotation is bool:
        return Shape(bool, strings=_no_strings)
    if annotation in (str, int):
        bounded = Annotated[annotation, _meta(facts)] if facts else annotation
        return Shape(bounded, strings=None if annotation is str else _no_strings)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        nested = compile_model(annotation)
        return Shape(nested.struct, strings=nested.settle)
    raise TypeError(f"no fast form for {annotation!r}: add it here")


def _facts(metadata: Iterable[Any]) -> Iterable[Any]:
    for fact in metadata:
        if isinstance(fact, FieldInfo):
            yield from fact.metadata
        else:
            yield fact


def _meta(facts: list[Any]) -> msgspec.Meta:
    bounds: dict[str, Any] = {}
    for fact in facts:
        if isinstance(fact, annotated_types.MinLen):
            bounds["min_length"] = fact.min_length
        elif isinstance(fact, annotated_types.MaxLen):
            bounds["max_length"] = fact.max_length
        elif isinstance(fact, annotated_types.Ge):
            bounds["ge"] = fact.ge
        elif isinstance(fact, annotated_types.Le):
            bounds["le"] = fact.le
        else:
            raise TypeError(f"no fast form for the bound {fact!r}: add it here")
    return msgspec.Meta(**bounds)


def _optional(annotation: Any) -> Shape:
    inner = [arg for arg in get_args(annotation) if arg is not type(None)]
    if len(inner) != 1 or len(get_args(annotation)) != 2:
        raise TypeError(f"no fast form for {annotation!r}: only `X | None` is a union here")
    shape = _shape(inner[0], ())
    return Shape(shape.type | None, shape.settle, shape.strings)


def _list(annotation: Any) -> Shape:
    (inner,) = get_args(annotation)
    if inner == dict[str, Any]:
        return Shape(annotation, strings=free_strings)
    item = _shape(inner, ())
    settle, strings = item.settle, item.strings
    return Shape(
        list[item.type],  # type: ignore[name-defined]
        settle and (lambda values: [settle(value) for value in values]),
        len if strings is None else (lambda values: sum(map(strings, values))),
    )


def _dict(annotation: Any) -> Shape:
    key, inner = get_args(annotation)
    if key is not str:
        raise TypeError(f"no fast form for {annotation!r}: JSON objects have string names")
    if inner is Any or inner == dict[str, Any]:
        return Shape(annotation, strings=free_strings)
    item = _shape(inner, ())
    settle, strings = item.settle, item.strings

    def count(values: dict[str, Any]) -> int:
        inside = len(values) if strings is None else sum(map(strings, values.values()))
        return len(values) + inside

    return Shape(
        dict[str, item.type],  # type: ignore[name-defined]
        settle and (lambda values: {name: settle(value) for name, value in values.items()}),
        count,
    )

"""The fast form of the models: msgspec structs made from the pydantic models' own declarations.

A struct has the model's fields under the same names. Scalars (decimals, days, times) are decoded as
text and then turned into values by the same function that the model uses; `settle` does that, in
place, and raises Invalid. `names` counts the JSON members that a struct was decoded from, and must
be asked before `settle`, which fills in defaults.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import astuple, force_setattr
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas.events.fields import OneOf, Scalar

Settle = Callable[[Any], Any]
Names = Callable[[Any], int]


@dataclass(frozen=True)
class Shape:
    """How one annotation is decoded: its msgspec type, what settles it, what counts its names."""

    type: Any
    settle: Settle | None = None
    names: Names | None = None


@dataclass(frozen=True)
class Compiled:
    """The struct of a model with what must be done after decoding it."""

    struct: type[msgspec.Struct]
    settle: Callable[[Any], None]
    names: Names
    #: Whether it has members of any JSON value, which can nest to any depth.
    free: bool

    def convert(self, data: object) -> Any:
        """The settled struct of parsed JSON; raises msgspec.ValidationError or Invalid."""
        value = msgspec.convert(data, self.struct)
        self.settle(value)
        return value


def compile_model(model: type[BaseModel]) -> Compiled:
    """Make the struct of a model."""
    columns: list[Any] = []
    rename: dict[str, str] = {}
    settles: list[tuple[str, Settle]] = []
    counts: list[tuple[str, Names]] = []
    for name, info in model.model_fields.items():
        shape = _shape(info.annotation, info.metadata)
        rename[name] = str(info.alias or name)
        columns.append(_column(name, shape, info))
        settle = _settle_of(shape, info)
        if settle is not None:
            settles.append((name, settle))
        if shape.names is not None:
            counts.append((name, shape.names))
    struct = msgspec.defstruct(
        model.__name__, columns, kw_only=True, frozen=True, gc=False, rename=rename
    )
    return Compiled(
        struct,
        _settling(tuple(settles)),
        _counting(len(columns), tuple(counts)),
        # Whatever has to be counted has members inside: bounded only if they are all models, and
        # it costs little to look.
        free=bool(counts),
    )


def free_names(value: object) -> int:
    """How many members all objects inside a parsed JSON value have together."""
    if isinstance(value, dict):
        return len(value) + sum(map(free_names, value.values()))
    if isinstance(value, list):
        return sum(map(free_names, value))
    return 0


def _settling(settles: tuple[tuple[str, Settle], ...]) -> Callable[[Any], None]:
    def settle(struct: Any) -> None:
        for name, read in settles:
            value = getattr(struct, name)
            if value is not None:
                force_setattr(struct, name, read(value))

    return settle


def _counting(width: int, counts: tuple[tuple[str, Names], ...]) -> Names:
    # A member that is there as null looks like one that is missing: the count is then too low, and
    # the caller has to look itself. It is never too high.
    def plain(struct: Any) -> int:
        values = astuple(struct)
        return width - values.count(None) - values.count(UNSET)

    def deep(struct: Any) -> int:
        total = plain(struct)
        for name, names in counts:
            value = getattr(struct, name)
            if value is not None and value is not UNSET:
                total += names(value)
        return total

    return deep if counts else plain


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
    settle = shape.settle

    def filled(value: Any) -> Any:
        if value is UNSET:
            return info.get_default(call_default_factory=True)
        return value if settle is None else settle(value)

    return filled


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
    if get_origin(annotation) is Literal or annotation is bool or annotation is Any:
        return Shape(annotation)
    if annotation in (str, int):
        return Shape(Annotated[annotation, _meta(facts)] if facts else annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        nested = compile_model(annotation)
        return Shape(nested.struct, _in_place(nested.settle), nested.names)
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


def _in_place(settle: Callable[[Any], None]) -> Settle:
    def settled(struct: Any) -> Any:
        settle(struct)
        return struct

    return settled


def _optional(annotation: Any) -> Shape:
    inner = [arg for arg in get_args(annotation) if arg is not type(None)]
    if len(inner) != 1 or len(get_args(annotation)) != 2:
        raise TypeError(f"no fast form for {annotation!r}: only `X | None` is a union here")
    shape = _shape(inner[0], ())
    return Shape(shape.type | None, shape.settle, shape.names)


def _list(annotation: Any) -> Shape:
    (inner,) = get_args(annotation)
    item = _shape(inner, ())
    if inner == dict[str, Any]:
        return Shape(list[dict[str, Any]], names=free_names)
    settle, names = item.settle, item.names
    return Shape(
        list[item.type],  # type: ignore[name-defined]
        settle and (lambda values: [settle(value) for value in values]),
        names and (lambda values: sum(map(names, values))),
    )


def _dict(annotation: Any) -> Shape:
    key, inner = get_args(annotation)
    if key is not str:
        raise TypeError(f"no fast form for {annotation!r}: JSON objects have string names")
    if inner is Any or inner == dict[str, Any]:
        return Shape(annotation, names=free_names)
    item = _shape(inner, ())
    settle = item.settle
    return Shape(
        dict[str, item.type],  # type: ignore[name-defined]
        settle and (lambda values: {name: settle(value) for name, value in values.items()}),
        len,
    )

"""The fast form of the models: msgspec structs made from the pydantic models' own declarations.

A struct has the model's fields under the same names. Scalars (decimals, days, times) are decoded as
text and then turned into values by the same function that the model uses; `settle` does that, in
place, and raises Invalid. `names` counts the JSON members that a struct was decoded from.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import msgspec
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
        columns.append((name, shape.type, *_default(info)))
        if shape.settle is not None:
            settles.append((name, shape.settle))
        if shape.names is not None:
            counts.append((name, shape.names))
    struct = msgspec.defstruct(
        model.__name__, columns, kw_only=True, frozen=True, gc=False, rename=rename
    )
    return Compiled(struct, _settling(tuple(settles)), _counting(len(columns), tuple(counts)))


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
    # A member that is there as null looks like one that is missing, and one that is missing with a
    # default like one that is there: the count is then wrong, and the careful path looks itself.
    def plain(struct: Any) -> int:
        return width - astuple(struct).count(None)

    def deep(struct: Any) -> int:
        total = width - astuple(struct).count(None)
        for name, names in counts:
            value = getattr(struct, name)
            if value is not None:
                total += names(value)
        return total

    return deep if counts else plain


def _default(info: FieldInfo) -> tuple[Any, ...]:
    if info.is_required():
        return ()
    if info.default_factory is not None:
        return (msgspec.field(default_factory=info.default_factory),)  # type: ignore[arg-type]
    return (msgspec.field(default=info.default),)


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

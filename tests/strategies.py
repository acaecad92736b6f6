"""Hypothesis strategies for events as they travel, made from the models' own declarations."""

from __future__ import annotations

import types
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas.currencies import CURRENCIES
from schemas.events.fields import (
    CURRENCY,
    DAY,
    INSTANT,
    NOT_NEGATIVE,
    POSITIVE,
    SIGNED,
    OneOf,
    Scalar,
)
from schemas.registry import EventType
from schemas.topics import KeyKind

#: Any text an event may have: no U+0000, no surrogates.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
#: Texts that attributes may have: no control characters either.
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, JSON_VALUES, max_size=4)

_DIGITS = "0|[1-9][0-9]{0,19}"
DECIMALS = st.from_regex(rf"-?({_DIGITS})(\.[0-9]{{1,18}})?", fullmatch=True)
UNSIGNED = DECIMALS.map(lambda text: text.removeprefix("-"))
ABOVE_ZERO = UNSIGNED.filter(lambda text: any(digit in text for digit in "123456789"))
DAYS = st.dates().map(str)
TIMES = st.datetimes(
    min_value=datetime(1970, 1, 2),
    max_value=datetime(2199, 12, 30),
).map(lambda time: time.isoformat(timespec="milliseconds") + "Z")

_SCALARS: dict[str, st.SearchStrategy[str]] = {
    SIGNED.name: DECIMALS,
    NOT_NEGATIVE.name: UNSIGNED,
    POSITIVE.name: ABOVE_ZERO,
    DAY.name: DAYS,
    INSTANT.name: TIMES,
    "time of day": st.from_regex(r"([01][0-9]|2[0-3]):[0-5][0-9]", fullmatch=True),
}


def data_of(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Valid data of a model, as on the wire."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, info in model.model_fields.items():
        members = required if info.is_required() else optional
        members[info.alias or name] = _values(info.annotation, info.metadata)
    return st.fixed_dictionaries(required, optional=optional)


def documents(event_type: EventType) -> st.SearchStrategy[dict[str, Any]]:
    """Valid structured events of a type."""
    required: dict[str, st.SearchStrategy[Any]] = {
        "specversion": st.just("1.0"),
        "id": NAMES,
        "source": NAMES,
        "type": st.just(event_type.full_name),
        "time": TIMES,
        "data": data_of(event_type.model),
    }
    optional: dict[str, st.SearchStrategy[Any]] = {
        "subject": NAMES,
        "datacontenttype": st.just("application/json"),
        "tenantid": NAMES,
        "sequence": st.integers(0, 10**18).map(str),
        "correlationid": NAMES,
        "causationid": NAMES,
        "traceparent": NAMES,
    }
    (required if event_type.topic.needs_user else optional)["userid"] = NAMES
    return st.fixed_dictionaries(required, optional=optional)


def key_of_document(event_type: EventType, document: dict[str, Any]) -> bytes:
    """The key that a valid document's record must have."""
    data, user = document["data"], document.get("userid")
    kind = event_type.topic.key
    if kind is KeyKind.SYMBOL:
        text = data["symbol"]
    elif kind is KeyKind.PAIR:
        text = data["base"] + data["quote"]
    else:
        text = user if user is not None else data["session"]
    return str(text).encode()


def _values(annotation: Any, metadata: Iterable[Any]) -> st.SearchStrategy[Any]:
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _values(inner, [*more, *metadata])
    facts = [
        fact
        for each in metadata
        for fact in (each.metadata if isinstance(each, FieldInfo) else [each])
    ]
    for fact in facts:
        if isinstance(fact, Scalar):
            return _SCALARS[fact.name]
        if isinstance(fact, OneOf):
            assert fact is CURRENCY
            return st.sampled_from(sorted(CURRENCIES))
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in get_args(annotation) if arg is not type(None))
        return _values(inner, ()) | st.none()
    if origin is Literal:
        return st.sampled_from(get_args(annotation))
    if origin is list:
        return st.lists(_values(get_args(annotation)[0], ()), max_size=3)
    if origin is dict:
        return st.dictionaries(TEXTS, _values(get_args(annotation)[1], ()), max_size=3)
    if annotation is Any:
        return JSON_VALUES
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        low = next((fact.ge for fact in facts if isinstance(fact, annotated_types.Ge)), 0)
        return st.integers(int(low), 2**63 - 1)
    if annotation is str:
        least = any(isinstance(fact, annotated_types.MinLen) for fact in facts)
        return TEXTS.filter(bool) if least else TEXTS
    return data_of(annotation)

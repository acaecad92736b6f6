"""What can be wrong with the data of every type of event: made from the models' declarations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas.events.fields import OneOf, Scalar
from schemas.limits import text_length_max
from schemas.registry import TYPES, EventType
from schemas.topics import KeyKind
from tests.builders import draft
from tests.corpus.kind import PERSON, Kind, altered

#: Of each scalar: a good value and some that its rule excludes.
_SCALARS: dict[str, tuple[str, tuple[str, ...]]] = {
    "signed": ("1.5", ("1e3",)),
    "not negative": ("1.5", ("-0.01",)),
    "above zero": ("1.5", ("0",)),
    "positive": ("1.5", ("0", "-1")),
    "day": ("2026-02-12", ("2026-02-30",)),
    "instant": ("2026-02-12T09:30:00.000Z", ("yesterday",)),
    "time of day": ("22:00", ("24:00",)),
}


def kinds() -> Iterator[Kind]:
    """Each field of each type: missing, null, of another JSON type, against its rule; then the
    values that people and programs really send."""
    for event_type in TYPES.values():
        for name, info in event_type.model.model_fields.items():
            yield from _of_field(event_type, info.alias or name, info)
    for field, values in _REALLY_SENT.items():
        for value in values:
            shown = repr(value)[:60]
            yield Kind(f"posting: {field} {shown}", altered(data={field: value}), f"data.{field}")
    for field, value in _NESTED.items():
        record = altered(data=value, made=_made(TYPES["app.preferences.changed.v1"]))
        yield Kind(f"preferences: {field}", record, f"data.preferences.{field}")


def _of_field(event_type: EventType, name: str, info: FieldInfo) -> Iterator[Kind]:
    where, path = event_type.full_name, f"data.{name}"
    made = _made(event_type)
    if info.is_required():
        yield Kind(f"{where}: {name} missing", altered(without=path, made=made), path)
        yield Kind(f"{where}: {name} null", altered(data={name: None}, made=made), path)
    _, bad = _values(info.annotation, info.metadata)
    for what, value in bad.items():
        record = altered(data={name: value}, made=made)
        yield Kind(f"{where}: {name} {what}", record, path)


def _made(event_type: EventType) -> Any:
    """A good draft of the type: the required fields alone."""
    data = _data(event_type.model)
    if event_type.topic.key is KeyKind.PAIR:
        data |= {"base": "USD", "quote": "INR"}
    return draft(event_type.full_name, data, user=PERSON)


def _data(model: type[BaseModel]) -> dict[str, Any]:
    return {
        info.alias or name: _values(info.annotation, info.metadata)[0]
        for name, info in model.model_fields.items()
        if info.is_required()
    }


def _values(annotation: Any, metadata: Iterable[Any]) -> tuple[Any, dict[str, Any]]:
    """A good value of an annotation, and bad ones by what is wrong with them."""
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
            fine, wrong = _SCALARS[fact.name]
            return fine, {"a number": 7, **{f"{text!r}": text for text in wrong}}
        if isinstance(fact, OneOf):
            return "INR", {"XAU": "XAU", "a number": 356}
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        (inner,) = (arg for arg in get_args(annotation) if arg is not type(None))
        return _values(inner, ())
    if origin is Literal:
        return get_args(annotation)[0], {"of another set": "none-of-them", "a number": 7}
    if origin is list:
        inner, _ = _values(get_args(annotation)[0], ())
        return [inner], {"an object": {}, "a text": "x"}
    if origin is dict:
        return {}, {"an array": [], "a text": "{}"}
    if annotation is bool:
        return True, {"a text": "true", "a number": 1}
    if annotation is int:
        least: Any = next((f.ge for f in facts if isinstance(f, annotated_types.Ge)), 0)
        return 3, {"a text": "3", "below": least - 1, "beyond 64 bits": 2**63, "a fraction": 1.5}
    if annotation is str:
        bad: dict[str, Any] = {"a number": 7, "too long": "x" * (text_length_max + 1)}
        if any(isinstance(fact, annotated_types.MinLen) for fact in facts):
            bad["empty"] = ""
        return "some", bad
    return _data(annotation), {"an array": [], "a text": "x"}


#: Values for the fields of a posting.
_REALLY_SENT: dict[str, tuple[Any, ...]] = {
    "amount": (
        45000.0,
        0.1,
        -1,
        "-45000.00",
        "0.00",
        "-0",
        "45,000.00",
        "45.000,00",
        "4_5000",
        "45000.",
        ".5",
        "045000.00",
        "+1",
        "1e3",
        "NaN",
        "Infinity",
        "-Infinity",
        "sNaN",
        "0x10",
        "₹45000",
        "45000 INR",
        " 45000.00",
        "45000.00 ",
        "45000.00\n",
        "\u0664\u0665\u0660\u0660\u0660",
        "４５０００",
        "\u221245000",
        "123456789012345678901",
        "0.0000000000000000001",
        "1" * 400,
        "",
        "null",
        "None",
        {"amount": "1", "currency": "INR"},
    ),
    "currency": (
        "inr",
        "INR ",
        "IN",
        "INRR",
        "₹",
        "356",
        "",
        "XAU",
        "XXX",
        "XTS",
        "XBT",
        "BTC",
        "USDT",
        "HRK",
        "DEM",
        "ANG",
        "\u0406NR",
        "ＩＮＲ",
    ),
    "direction": ("", "CREDIT", "Credit", "credit ", "c", "in"),
    "status": ("", "POSTED", "booked", "reversed"),
    "valueDate": (
        "",
        "12/02/2026",
        "2026-2-12",
        "20260212",
        "2026-02-30",
        "2026-02-12T00:00:00Z",
        "0000-01-01",
        "10000-01-01",
        "today",
    ),
    "balanceAfter": (1e3, "1,000", "--1"),
}

#: Inside the preferences.
_NESTED: dict[str, Any] = {
    "quietHours.to": {"preferences": {"quietHours": {"from": "22:00"}}},
    "quietHours.from": {"preferences": {"quietHours": {"from": "22.00", "to": "07:00"}}},
    "largeDebit.INR": {"preferences": {"largeDebit": {"INR": "-1"}}},
    "categories.trade.enabled": {"preferences": {"categories": {"trade": {"enabled": "no"}}}},
    "categories.kyc.delivery": {"preferences": {"categories": {"kyc": {"delivery": "weekly"}}}},
    "categories.alert.channels.1": {
        "preferences": {"categories": {"alert": {"channels": ["email", 5]}}}
    },
}

"""The careful path: everything that is wrong with an event, field by field.

It is slow and says all of it; the fast path (`schemas.fast`) is quick and only says that something
is not as usual. Both use the same declarations and rules, so they agree.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from schemas import json_text, limits
from schemas.attributes import Attributes
from schemas.cloudevents import Document
from schemas.errors import FieldError, Invalid
from schemas.events.fields import json_kind
from schemas.instants import instant
from schemas.registry import NEWEST, TYPES, EventType
from schemas.upcasts import upcast

T = TypeVar("T", bound=BaseModel)


class Checked(NamedTuple):
    """A document that is valid in itself; where it stands is looked at elsewhere."""

    attributes: Attributes
    #: The type as it stands in the document.
    event_type: EventType
    #: The type that `data` has: the newest version.
    newest: EventType
    data: Any


def check(
    document: Document, ingested_at: datetime, topic: str | None = None
) -> Checked | list[FieldError]:
    """The document's parts, or everything that is wrong with them; `topic` if it is on one."""
    if document.value is None:
        return document.errors
    errors: list[FieldError] = []
    checked = _check(document.value, ingested_at, topic, errors)
    # Where the form is wrong, what follows from it is not told once more.
    said = {error.path for error in document.errors}
    told = document.errors + [error for error in errors if error.path not in said]
    if told or checked is None:
        return list(dict.fromkeys(told))
    return checked


def _check(
    document: dict[str, Any], ingested_at: datetime, topic: str | None, errors: list[FieldError]
) -> Checked | None:
    # CloudEvents: a null attribute is one that is not there.
    given = {name: value for name, value in document.items() if value is not None}
    attributes = validated(Attributes, given, "", errors)
    _check_time(given.get("time"), ingested_at, errors)
    event_type = _type_of(given, errors)
    if event_type is not None and topic not in (None, event_type.topic.name):
        message = f"{event_type.full_name} belongs on topic {event_type.topic.name}, not {topic}"
        errors.append(FieldError("type", message))
    if "data_base64" in given:
        errors.append(FieldError("data_base64", "must not be used; give JSON as data"))
    if event_type is not None and event_type.topic.needs_user and "userid" not in given:
        errors.append(FieldError("userid", "is required for this type"))
    if "data" not in given:
        errors.append(FieldError("data", "is required"))
    elif not isinstance(given["data"], dict):
        message = f"must be a JSON object, not {json_kind(given['data'])}"
        errors.append(FieldError("data", message))
    elif event_type is not None:
        validated(event_type.model, given["data"], "data", errors)
    if errors or attributes is None or event_type is None:
        return None
    newest = NEWEST[event_type.name]
    data = upcast(event_type.name, event_type.version, given["data"])
    return Checked(attributes, event_type, newest, newest.compiled.convert(data))


def data_errors(event_type: EventType, data: object) -> list[FieldError]:
    """Everything that is wrong with data alone; paths begin with `data`."""
    errors: list[FieldError] = []
    validated(event_type.model, data, "data", errors)
    return errors


def _type_of(given: dict[str, Any], errors: list[FieldError]) -> EventType | None:
    name = given.get("type")
    if not isinstance(name, str) or not name:
        return None
    found = TYPES.get(name)
    if found is None:
        known = NEWEST.get(name) or NEWEST.get(name.rpartition(".v")[0])
        hint = f"; did you mean {known.full_name}?" if known else ""
        errors.append(FieldError("type", f"{name[:200]!r} is not a known type{hint}"))
    return found


def _check_time(text: object, ingested_at: datetime, errors: list[FieldError]) -> None:
    try:
        ahead = isinstance(text, str) and instant(text) - limits.time_ahead_max > ingested_at
    except Invalid:
        return  # said already
    if ahead:
        hours = limits.time_ahead_max.total_seconds() / 3600
        errors.append(FieldError("time", f"must lie at most {hours:.0f} h ahead of ingestion"))


def validated(model: type[T], value: object, path: str, errors: list[FieldError]) -> T | None:
    """The value as a model; or None, with everything that is wrong with it added to `errors`.

    Paths begin with `path`, if there is one.
    """
    try:
        return model.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            names = [json_text.legible(str(part)) for part in detail["loc"]]
            where = ".".join([path, *names] if path else names)
            errors.append(FieldError(where, _message(detail)))
        return None


def _message(detail: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    value = detail["input"]
    if kind == "missing":
        return "is required"
    if kind == "value_error" and isinstance(context.get("error"), Invalid):
        return str(context["error"])
    if kind == "literal_error":
        return f"must be one of {context['expected']}"
    if kind in ("string_too_short", "too_short"):
        return "must not be empty"
    if kind in ("string_too_long", "too_long"):
        return f"must not be longer than {context['max_length']}"
    if kind == "extra_forbidden":
        return "is not a member of it"
    wanted = _WANTED.get(kind)
    if wanted is not None:
        return f"must be {wanted}, not {json_kind(value)}"
    if kind in _BOUNDS:
        return f"must be {_BOUNDS[kind]} {next(iter(context.values()))}"
    return str(detail["msg"])


_WANTED = {
    "string_type": "a JSON string",
    "int_type": "a JSON integer",
    "int_from_float": "a JSON integer",
    "bool_type": "true or false",
    "dict_type": "a JSON object",
    "model_type": "a JSON object",
    "list_type": "a JSON array",
}
_BOUNDS = {"greater_than_equal": "at least", "less_than_equal": "at most"}

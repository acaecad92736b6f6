"""The attributes of a CloudEvent as this installation uses them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict

from schemas import limits
from schemas.errors import Invalid
from schemas.events.fields import Instant, Scalar

has_controls = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_JSON_MEDIA = re.compile(
    r"\s*[a-z]+/(?:json|[a-z0-9.!#$&^_-]+\+json)\s*(?:;\s*charset\s*=\s*\"?utf-?8\"?\s*)?;?\s*",
    re.IGNORECASE | re.ASCII,
)
SEQUENCE_DIGITS_MAX = 19
_SEQUENCE_PATTERN = f"^[0-9]{{1,{SEQUENCE_DIGITS_MAX}}}$"


def name(text: str) -> str:
    """A non-empty text without control characters, as CloudEvents demands of attributes."""
    if not text:
        raise Invalid("must not be empty")
    if has_controls(text):
        raise Invalid("must not contain control characters")
    return text


def event_id(text: str) -> str:
    """An id: 1 to 128 code points without control characters, compared as they stand."""
    if len(text) > limits.id_length_max:
        raise Invalid(f"must have 1 to {limits.id_length_max} characters, has {len(text)}")
    return name(text)


def is_sequence(text: str) -> bool:
    """Whether it is an integer as a string, of up to 19 digits."""
    return text.isdecimal() and text.isascii() and len(text) <= SEQUENCE_DIGITS_MAX


def sequence(text: str) -> str:
    """The aggregate's version as the producer saw it."""
    if not is_sequence(text):
        raise Invalid('must be an integer as a string, such as "42"')
    return text


def json_media(text: str) -> str:
    """A media type that is JSON in UTF-8."""
    if _JSON_MEDIA.fullmatch(text) is None:
        raise Invalid(f"must be application/json, got {text[:100]!r}")
    return text


def _text(label: str, read: Any, **schema: Any) -> Scalar:
    return Scalar(label, read, str, str, tuple({"type": "string", **schema}.items()))


_NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f]*$"

Name = Annotated[str, _text("name", name, minLength=1, pattern=_NO_CONTROLS)]
EventId = Annotated[
    str,
    _text("id", event_id, minLength=1, maxLength=limits.id_length_max, pattern=_NO_CONTROLS),
]
Sequence = Annotated[str, _text("sequence", sequence, pattern=_SEQUENCE_PATTERN)]
JsonMedia = Annotated[str, _text("media type", json_media)]


class Attributes(BaseModel):
    """The outside of an event; other attributes are extensions and kept as they are."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    specversion: Literal["1.0"]
    id: EventId
    source: Name
    type: Name
    subject: Name | None = None
    time: Instant
    datacontenttype: JsonMedia | None = None
    userid: Name | None = None
    tenantid: Name | None = None
    sequence: Sequence | None = None
    correlationid: EventId | None = None
    causationid: EventId | None = None
    traceparent: Name | None = None


#: What an event's document has that is no extension.
_MEMBERS = frozenset(Attributes.model_fields) | {"data"}


def extensions_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an event's document that are not read here, in their order, but for nulls."""
    if document.keys() <= _MEMBERS:
        return {}
    return {
        name: member
        for name, member in document.items()
        if name not in _MEMBERS and member is not None
    }

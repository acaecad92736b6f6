"""CloudEvents 1.0 on Kafka and HTTP: structured and binary mode become one JSON document.

Kafka protocol binding: header values of binary mode are UTF-8 as they stand. HTTP protocol binding:
they are percent-encoded, and so they are decoded here, and only here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from schemas import json_text, limits
from schemas.attributes import json_media
from schemas.errors import FieldError, Invalid

KAFKA_PREFIX = "ce_"
HTTP_PREFIX = "ce-"

_STRUCTURED = re.compile(
    r"application/cloudevents\+json\s*(?:;\s*charset\s*=\s*\"?utf-?8\"?\s*)?;?\s*",
    re.IGNORECASE,
)
_NOT_IN_HEADERS = frozenset({"data", "data_base64", "datacontenttype"})


class Document(NamedTuple):
    """An event as one JSON object, or why there is none."""

    value: dict[str, Any] | None
    errors: list[FieldError]
    binary: bool = False


class Mode(NamedTuple):
    """What the headers say: binary mode or not, its attributes, and what contradicts."""

    binary: bool
    attributes: dict[str, Any]
    errors: list[FieldError]


def kafka_document(value: bytes, headers: Iterable[tuple[str, bytes | None]]) -> Document:
    """The event of a Kafka record."""
    return document(value, kafka_mode(headers), _headers_size(headers))


def http_document(body: bytes, headers: Iterable[tuple[str, str]]) -> Document:
    """The event of an HTTP request with one event in it."""
    return document(body, http_mode(headers))


def document(value: bytes, mode: Mode, headers_size: int = 0) -> Document:
    """The event that a body and what its headers say make together."""
    size = len(value) + (headers_size if mode.binary else 0)
    if size > limits.event_size_bytes_max:
        message = f"has {size} bytes; {limits.event_size_bytes_max} are allowed"
        return Document(None, [FieldError("", message)], mode.binary)
    if not value:
        return Document(None, [FieldError("", "is empty")], mode.binary)
    if mode.binary:
        data, errors = json_text.parse(value, outer_depth=1)
        found = [FieldError(f"data.{path}".rstrip("."), message) for path, message in errors]
        found += mode.errors + json_text.inspect(mode.attributes)
        return Document({**mode.attributes, "data": data}, found, True)
    parsed, errors = json_text.parse(value)
    if not errors and not isinstance(parsed, dict):
        errors = [FieldError("", "must be a JSON object")]
    return Document(parsed if isinstance(parsed, dict) else None, mode.errors + errors)


def kafka_mode(headers: Iterable[tuple[str, bytes | None]]) -> Mode:
    """What the headers of a Kafka record say."""
    errors: list[FieldError] = []
    texts: list[tuple[str, str]] = []
    for name, value in headers:
        lower = name.lower()
        if lower == "content-type" or lower.startswith(KAFKA_PREFIX):
            try:
                texts.append((lower, (value or b"").decode()))
            except UnicodeDecodeError:
                errors.append(FieldError(_attribute(lower, KAFKA_PREFIX), "is not UTF-8"))
    return _mode(texts, KAFKA_PREFIX, errors, plain_json=False)


def http_mode(headers: Iterable[tuple[str, str]]) -> Mode:
    """What the headers of an HTTP request say. `application/json` without `ce-` headers is taken
    as structured: that is what people send by hand."""
    errors: list[FieldError] = []
    texts: list[tuple[str, str]] = []
    for name, value in headers:
        lower = name.lower()
        if lower == "content-type":
            texts.append((lower, value))
        elif lower.startswith(HTTP_PREFIX):
            try:
                texts.append((lower, percent_decoded(value)))
            except Invalid as error:
                errors.append(FieldError(_attribute(lower, HTTP_PREFIX), str(error)))
    return _mode(texts, HTTP_PREFIX, errors, plain_json=True)


def percent_decoded(value: str) -> str:
    """A `ce-` header's value as the HTTP binding decodes it; raises Invalid."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise Invalid("is not percent-encoded UTF-8") from None


def _mode(
    texts: list[tuple[str, str]],
    prefix: str,
    errors: list[FieldError],
    *,
    plain_json: bool,
) -> Mode:
    content_type: str | None = None
    attributes: dict[str, Any] = {}
    for name, value in texts:
        if name == "content-type":
            if content_type is not None and content_type != value:
                errors.append(FieldError("content-type", "is there more than once"))
            content_type = value
            continue
        attribute = name.removeprefix(prefix)
        if attribute in _NOT_IN_HEADERS:
            continue
        if attribute in attributes:
            errors.append(FieldError(attribute, "is there more than once; give it once"))
        attributes[attribute] = value
    if content_type is None:
        # Without a content type, only the headers can tell the mode.
        return Mode("specversion" in attributes, attributes, errors)
    content_type = content_type.strip()
    if _STRUCTURED.fullmatch(content_type):
        return Mode(False, {}, errors)
    if content_type.lower().startswith("application/cloudevents"):
        message = f"must be application/cloudevents+json in UTF-8, got {content_type[:100]!r}"
        return Mode(False, {}, [*errors, FieldError("content-type", message)])
    try:
        json_media(content_type)
    except Invalid as error:
        return Mode(
            bool(attributes),
            attributes,
            [*errors, FieldError("content-type", str(error))],
        )
    if not attributes:
        if plain_json:
            return Mode(False, {}, errors)
        message = (
            f"{content_type[:100]!r} says binary mode, but there are no {prefix} headers; a "
            "structured event is application/cloudevents+json"
        )
        return Mode(False, {}, [*errors, FieldError("content-type", message)])
    return Mode(True, {**attributes, "datacontenttype": content_type}, errors)


def _attribute(name: str, prefix: str) -> str:
    return name.removeprefix(prefix)


def _headers_size(headers: Iterable[tuple[str, bytes | None]]) -> int:
    return sum(len(name) + len(value or b"") for name, value in headers)


def json_items(body: bytes) -> list[bytes]:
    """The events of a JSON array, each as it is written; raises Invalid if it is none."""
    try:
        return [bytes(item) for item in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"is not a JSON array: {error}") from None


def json_lines(body: bytes) -> list[bytes]:
    """The events of newline-delimited JSON; blank lines do not count."""
    return [line for line in body.split(b"\n") if line.strip()]

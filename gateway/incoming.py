"""Events as they come in by HTTP, checked many at a time.

Structured events take the way that readers of the log take (`schemas.codec.decode_batch`), as the
records that they would be: what is right costs microseconds, and only what is not is looked at
field by field.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from schemas.attributes import extensions_of
from schemas.codec import RawRecord, Unreadable, decode_batch, validate_json
from schemas.envelope import HEADERS, Draft, Event, key_of
from schemas.errors import FieldError, InvalidEvent
from schemas.instants import EPOCH
from schemas.registry import TYPES

STRUCTURED = "application/cloudevents+json"

#: Timers and crossings carry what a fold wrote for itself.
_INTERNAL = frozenset({"app.timer.fired", "rule.crossed"})


class Given(NamedTuple):
    """One event of a request as it came; without headers of its own it is structured JSON."""

    value: bytes
    headers: Sequence[tuple[str, str]] | None = None


class _Outline(NamedTuple):
    """An event as JSON, and the record that it would be in the log."""

    document: dict[str, Any]
    record: RawRecord


def checked(given: Sequence[Given], tenant: str) -> list[Draft | InvalidEvent]:
    """What each event is, or everything that is wrong with it."""
    now_ms = time.time_ns() // 1_000_000
    outlines = [_outline(event, now_ms) for event in given]
    records = [outline.record for outline in outlines if outline is not None]
    seen = iter(decode_batch(records, tenant=tenant))
    return [
        _judged(event, outline, None if outline is None else next(seen), tenant)
        for event, outline in zip(given, outlines, strict=True)
    ]


def _judged(
    event: Given, outline: _Outline | None, seen: Event | Unreadable | None, tenant: str
) -> Draft | InvalidEvent:
    try:
        if isinstance(seen, Unreadable):
            return InvalidEvent(seen.errors)
        if outline is not None and seen is not None:
            return _from_outside(_draft(outline.document, seen))
        headers = event.headers if event.headers is not None else (("content-type", STRUCTURED),)
        return _from_outside(validate_json(event.value, headers, tenant=tenant))
    except InvalidEvent as error:
        return error


def _outline(event: Given, now_ms: int) -> _Outline | None:
    """None if it is not even clear which topic and key the event would have."""
    if event.headers is not None:
        return None
    try:
        document = msgspec.json.decode(event.value)
        name, user_id, data = document["type"], document.get("userid"), document["data"]
        if not isinstance(name, str) or not isinstance(user_id, str | None):
            return None
        topic = TYPES[name].topic.name
        key = key_of(Draft(id="", type=name, source="", data=data, time=EPOCH, user_id=user_id))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None  # no JSON
    except (TypeError, AttributeError, KeyError, InvalidEvent):
        return None  # no event
    return _Outline(document, RawRecord(topic, 0, 0, key, event.value, HEADERS, now_ms))


def _draft(document: dict[str, Any], seen: Event) -> Draft:
    return Draft(
        type=document["type"],
        source=seen.source,
        data=document["data"],
        time=seen.time,
        user_id=seen.user_id,
        subject=seen.subject,
        id=seen.id,
        tenant_id=seen.tenant_id,
        sequence=seen.sequence,
        correlation_id=seen.correlation_id,
        causation_id=seen.causation_id,
        traceparent=seen.traceparent,
        extensions=extensions_of(document),
    )


def _from_outside(draft: Draft) -> Draft:
    """The draft, if its type is one that others may emit.

    Raises:
        InvalidEvent: folds trust that only this system emits events of its type.
    """
    if draft.type.rpartition(".v")[0] in _INTERNAL:
        raise InvalidEvent([FieldError("type", "is emitted by this system alone")])
    return draft

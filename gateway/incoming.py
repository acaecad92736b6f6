"""Events as they come in by HTTP, checked many at a time.

An event in structured mode goes into the log as it came, to the byte, with the tenant added where
it names none. It is checked as the record that it will be, once; only what is not plainly right is
looked at by `schemas.codec.validate_json`, which says what is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from schemas.codec import Encoded, encode_each, judge, validate_json
from schemas.errors import FieldError, InvalidEvent
from schemas.registry import TYPES
from schemas.topics import KeyKind

STRUCTURED = "application/cloudevents+json"

#: Timers and crossings carry what a fold wrote for itself.
_INTERNAL = frozenset({"app.timer.fired", "rule.crossed"})


class Given(NamedTuple):
    """One event of a request as it came; without headers of its own it is structured JSON."""

    value: bytes
    headers: Sequence[tuple[str, str]] | None = None


class Valid(NamedTuple):
    """An event that is valid, as it goes into the log."""

    event_id: str
    event: Encoded


class _Keys(msgspec.Struct, gc=False):
    """What of an event's data may make its key."""

    symbol: str = ""
    base: str = ""
    quote: str = ""
    session: str = ""


class _Head(msgspec.Struct, gc=False):
    """What says where an event belongs."""

    id: str
    type: str
    data: _Keys
    userid: str = ""
    tenantid: Any = msgspec.UNSET


def checked(given: Sequence[Given], tenant: str) -> list[Valid | InvalidEvent]:
    """What each event is, or everything that is wrong with it."""
    now_ms = time.time_ns() // 1_000_000
    outlines = [_outline(event, tenant) for event in given]
    records = [outline.event for outline in outlines if outline is not None]
    seen = iter(judge(records, now_ms, tenant=tenant))
    return [
        outline
        if outline is not None and isinstance(next(seen), Encoded)
        else _carefully(event, now_ms, tenant)
        for event, outline in zip(given, outlines, strict=True)
    ]


def _outline(given: Given, tenant: str) -> Valid | None:
    """The event as it came, as a record; None if it is not plain which one it would be."""
    if given.headers is not None:
        return None
    try:
        head = _HEADS.decode(given.value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    known = TYPES.get(head.type)
    if known is None or known.name in _INTERNAL:
        return None
    data, value = head.data, given.value
    match known.topic.key:
        case KeyKind.SYMBOL:
            key = data.symbol
        case KeyKind.PAIR:
            key = data.base + data.quote
        case KeyKind.SESSION:
            key = head.userid or data.session
        case _:
            key = head.userid
    if head.tenantid is msgspec.UNSET:
        value = b'{"tenantid":%b,%b' % (msgspec.json.encode(tenant), value.lstrip()[1:])
    return Valid(head.id, Encoded(known.topic.name, key.encode(), value))


_HEADS = msgspec.json.Decoder(_Head)


def _carefully(given: Given, now_ms: int, tenant: str) -> Valid | InvalidEvent:
    headers = given.headers if given.headers is not None else (("content-type", STRUCTURED),)
    try:
        draft = validate_json(given.value, headers, tenant=tenant)
    except InvalidEvent as error:
        return error
    if draft.type.rpartition(".v")[0] in _INTERNAL:
        # Folds trust that only this system emits events of its type.
        return InvalidEvent([FieldError("type", "is emitted by this system alone")])
    (event,) = encode_each([draft], now_ms, tenant=tenant)
    return event if isinstance(event, InvalidEvent) else Valid(draft.id, event)

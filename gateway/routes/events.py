"""``POST /api/events``: the way in for producers that speak HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any, NoReturn

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import written
from gateway.auth import PRODUCER
from gateway.bodies import read_body
from gateway.incoming import STRUCTURED, Given, Valid, checked
from gateway.metrics import Metrics
from gateway.operations import Access, Call, Operation, Shape
from gateway.problems import ErrorItem, Problem, malformed, wrong
from schemas.cloudevents import percent_decoded
from schemas.errors import FieldError, Invalid, InvalidEvent

_BATCH = "application/cloudevents-batch+json"

_LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

#: Events checked before other requests get their turn: some milliseconds' worth.
CHECKED_AT_ONCE = 100

MEDIA_TYPES = ("application/json", STRUCTURED, _BATCH, "application/x-ndjson")


class CloudEvent(Shape):
    """One event; `data` has the members of its type (`/schemas/{type}.json`)."""

    specversion: str
    id: str
    source: str
    type: str
    time: str
    data: dict[str, Any]
    subject: str | None = None
    datacontenttype: str | None = None
    userid: str | None = None
    tenantid: str | None = None
    sequence: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    traceparent: str | None = None


class Accepted(Shape):
    """An event that the log has."""

    index: int
    id: str
    position: str


class Rejected(Shape):
    """An event that is not valid, with everything that is wrong with it."""

    index: int
    id: str | None
    errors: list[ErrorItem]


class Outcome(Shape):
    """What became of each event, by its index in the request."""

    accepted: list[Accepted]
    rejected: list[Rejected]


class EventsIn:
    """The operation, with what it counts."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def post(self, call: Call) -> Response:
        """Validate each event by itself, append the valid ones, answer when the log has them."""
        body = await read_body(call.request, call.parts.settings.body_bytes_max)
        given = _given(call.request, body)
        if not given:
            raise wrong(FieldError("", "there is no event in it"))
        valid: dict[int, Valid] = {}
        rejected: list[dict[str, Any]] = []
        for start in range(0, len(given), CHECKED_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            some = given[start : start + CHECKED_AT_ONCE]
            for index, found in enumerate(checked(some, call.parts.settings.tenant), start):
                if isinstance(found, InvalidEvent):
                    rejected.append(_rejection(index, given[index], found))
                else:
                    valid[index] = found
        events = [each.event for each in valid.values()]
        positions = await call.parts.log.append(events) if events else []
        self._metrics.events.labels("accepted").inc(len(events))
        self._metrics.events.labels("rejected").inc(len(rejected))
        accepted = [
            {"index": index, "id": each.event_id, "position": str(position)}
            for (index, each), position in zip(valid.items(), positions, strict=True)
        ]
        outcome = {"accepted": accepted, "rejected": rejected}
        if not accepted:
            raise Problem(422, "no event is valid", members=outcome)
        return written(positions, outcome, 207 if rejected else 202)


def _given(request: Request, body: bytes) -> list[Given]:
    """The events of a request, whichever way they came.

    Raises:
        Problem: 400, the body does not parse.
    """
    headers = list(request.headers.items())
    if not body.strip():
        raise malformed("the body is empty")
    if "ce-specversion" in request.headers or "ce-id" in request.headers:
        _parsed(body)
        return [Given(body, headers)]
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media in _LINES:
        return list(_of_lines(body.splitlines()))
    if body.lstrip()[:1] == b"[" or media == _BATCH:
        return [Given(element) for element in _elements(body)]
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) > 1 and _is_object(lines[0]):
        return list(_of_lines(lines))
    _parsed(body)
    return [Given(body, headers)]


def _of_lines(lines: Iterable[bytes]) -> Iterable[Given]:
    # A line that does not parse is rejected by itself, as an event that is not valid.
    return (Given(line) for line in lines if line.strip())


def _elements(body: bytes) -> list[bytes]:
    """The elements of an array, each as it stands.

    An escape that stands for half a character makes its event invalid, not the others beside it;
    only the standard library's parser reads on behind one.
    """
    try:
        return [bytes(each) for each in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, RecursionError):
        found = _parsed(body)
    if not isinstance(found, list):
        raise malformed("the body is not a JSON array of events")
    return list(_slices(body.decode()))


def _slices(array: str) -> Iterable[bytes]:
    """The elements of a text that is known to be a JSON array."""
    decoder = json.JSONDecoder()
    start = _after_space(array, array.index("[") + 1)
    while array[start] != "]":
        _, end = decoder.raw_decode(array, start)
        yield array[start:end].encode()
        start = _after_space(array, end)
        if array[start] == ",":
            start = _after_space(array, start + 1)


def _after_space(text: str, start: int) -> int:
    while text[start] in " \t\r\n":
        start += 1
    return start


def _parsed(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise malformed(f"the body is not JSON: {error}") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except (msgspec.DecodeError, RecursionError):
        return False


def _rejection(index: int, event: Given, error: InvalidEvent) -> dict[str, Any]:
    return {
        "index": index,
        "id": _id_of(event),
        "errors": [{"path": path, "message": message} for path, message in error.errors],
    }


def _id_of(event: Given) -> str | None:
    for name, value in event.headers or ():
        if name.lower() == "ce-id":
            try:
                return percent_decoded(value)
            except Invalid:
                return value
    try:
        document = msgspec.json.decode(event.value)
    except (msgspec.DecodeError, RecursionError):
        return None
    found = document.get("id") if isinstance(document, dict) else None
    return found if isinstance(found, str) else None


def operations(metrics: Metrics) -> tuple[Operation, ...]:
    """The operations, counting into these metrics."""
    return (
        Operation(
            "POST",
            "/api/events",
            EventsIn(metrics).post,
            "Append events: one, a JSON array or lines of JSON; structured or binary mode",
            access=Access(scopes=(PRODUCER,)),
            status=202,
            answer=Outcome,
            body=CloudEvent,
            writes=True,
            body_media_types=MEDIA_TYPES,
            further=((207, Outcome),),
        ),
    )

"""Answers: JSON, with what they reflect (`Streams-Position`) and what they are (`ETag`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache, partial
from hashlib import blake2b
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.operations import POSITION_HEADER, Call
from projections.batch import Partition
from schemas.fast import placed
from schemas.position import Position, PositionToken
from schemas.topics import APP_COMMANDS, TOPICS, KeyKind

#: Projection -> the topics of it that an answer hangs on; None for all that it reads.
Sources = Mapping[str, frozenset[str] | None]

#: Of answers that hang on what the caller has ordered and nothing else.
COMMANDS = frozenset({APP_COMMANDS.name})


def json_answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A body as JSON. It is somebody's own, so nobody between may keep it."""
    return Response(
        orjson.dumps(body),
        status,
        headers={"Cache-Control": "private, no-cache", **(headers or {})},
        media_type="application/json",
    )


async def reading(call: Call, sources: Sources, read: Callable[[], Awaitable[Any]]) -> Response:
    """Answer with what ``read`` finds, once the sources have reached the caller's position.

    ``sources`` are the projections that are read, each with the topics of it that matter to this
    answer; None for all.

    Raises:
        Problem: 422, the position is not one.
        NotReached: it is not reached in time.
    """
    progress, settings = call.parts.progress, call.parts.settings
    wanted = call.token().positions
    for name, topics in sources.items():
        reads = call.parts.topics_of(name) if topics is None else topics
        bearing = {Partition(*place): end for place, end in wanted.items() if place[0] in reads}
        await progress.reached(name, bearing, settings.reached_seconds_max)
    # Before the reading: what is read is at least this new.
    reflected = _reflected(call, sources)
    body = orjson.dumps(await read())
    return _conditional(call.request, body, {POSITION_HEADER: reflected.encode()})


def written(
    positions: Iterable[Position],
    body: Any,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer a write that the log has; ``body`` None for 204."""
    fields = {POSITION_HEADER: PositionToken.after(positions).encode(), **(headers or {})}
    if body is None:
        return Response(status_code=status, headers=fields)
    return json_answer(body, status, fields)


def etag_of(body: Any) -> str:
    """The entity tag of a body."""
    return _etag(orjson.dumps(body))


def _etag(encoded: bytes) -> str:
    return f'"{blake2b(encoded, digest_size=12).hexdigest()}"'


def _conditional(request: Request, body: bytes, headers: dict[str, str]) -> Response:
    etag = _etag(body)
    fields = {"ETag": etag, "Cache-Control": "private, no-cache", **headers}
    if _matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=fields)
    return Response(body, headers=fields, media_type="application/json")


def _matches(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    given = {part.strip().removeprefix("W/") for part in header.split(",")}
    return "*" in given or etag in given


def _reflected(call: Call, sources: Sources) -> PositionToken:
    """The positions of all these projections that bear on the caller's own lines."""
    least: dict[tuple[str, int], int] = {}
    own = cache(partial(_own_partition, call))
    for name, topics in sources.items():
        for place, end in call.parts.progress.positions(name).positions.items():
            topic, partition = place
            if (topics is None or topic in topics) and own(topic) in (None, partition):
                least[place] = min(end, least.get(place, end))
    return PositionToken(least)


def _own_partition(call: Call, topic: str) -> int | None:
    """The partition of a topic that bears on the caller; None for all of them."""
    known = TOPICS.get(topic)
    if known is None or known.key is not KeyKind.USER:
        return None
    count = call.parts.hub.partition_counts.get(topic)
    return None if count is None else placed(call.user_id.encode(), count)

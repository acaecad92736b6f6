"""``/api/sync``: the state of the whole, and the live tail as server-sent events."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from starlette.responses import Response

from gateway.answers import json_answer
from gateway.auth import OPERATOR
from gateway.health import Health
from gateway.metrics import lags
from gateway.operations import PUBLIC, Call, Operation, Shape
from gateway.problems import unavailable, wrong
from gateway.tail.admission import Full
from gateway.tail.sse import EventStream
from schemas.errors import FieldError, Invalid


class StreamQuery(Shape):
    """Where to begin, and what to see."""

    from_: str | None = Field(
        None, alias="from", description="a cursor, `earliest`, or `latest` (the default)"
    )
    types: str | None = Field(
        None, description="type patterns separated by commas, such as `bfc.transaction.*`"
    )


class PartState(Shape):
    """Whether a part answers."""

    up: bool
    why: str | None = None


class SyncHealth(Shape):
    """The bare state; operators are told more."""

    status: str
    parts: dict[str, PartState] | None = None
    lag: dict[str, int] | None = None
    tail_clients: int | None = None


class Sync:
    """The operations, with the health that they look at."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def state(self, call: Call) -> Response:
        """Whether everything is up; which parts are not and how far behind, for operators."""
        state = await self._health.state(call.parts)
        is_up = all(why is None for why in state.values())
        body: dict[str, Any] = {"status": "ok" if is_up else "degraded"}
        if call.caller is not None and call.caller.may(OPERATOR):
            body["parts"] = {name: {"up": why is None, "why": why} for name, why in state.items()}
            body["lag"] = lags(call.parts)
            body["tailClients"] = call.parts.hub.clients
        return json_answer(body)

    async def stream(self, call: Call) -> Response:
        """The tail. `Last-Event-ID`, which browsers send when they come again, goes before
        `from`."""
        request, admission = call.request, call.parts.admission
        if request.method == "HEAD":
            return Response(media_type=EventStream.media_type)
        place = request.headers.get("last-event-id") or request.query_params.get("from")
        path = "from"
        try:
            start = await admission.start_of(call.principal, place)
            path = "types"
            subscription = await admission.subscribe(
                call.principal, request.query_params.getlist("types")
            )
        except Invalid as error:
            raise wrong(FieldError(path, str(error))) from None
        except Full:
            raise unavailable("this process takes no more clients now") from None
        return EventStream(subscription, start, call.principal, admission.settings.send_seconds_max)


def operations(health: Health) -> tuple[Operation, ...]:
    """The operations, looking at this health."""
    sync = Sync(health)
    return (
        Operation(
            "GET",
            "/api/sync/health",
            sync.state,
            "The state of the whole",
            access=PUBLIC,
            answer=SyncHealth,
        ),
        Operation(
            "GET",
            "/api/sync/stream",
            sync.stream,
            "Tail the log: server-sent events",
            query=StreamQuery,
            media_type="text/event-stream",
        ),
    )

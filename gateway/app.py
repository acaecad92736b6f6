"""The gateway as an ASGI application: built from settings and a way to open its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from gateway.auth import (
    ManyKeys,
    NotAuthenticated,
    Principal,
    Verifier,
    bearer,
    challenge,
    fixed_keys,
    forbidden,
)
from gateway.jwks import JwksKeys
from gateway.limits import RateLimit
from gateway.metrics import Metrics
from gateway.middleware import REQUEST_ID_HEADER, Surround
from gateway.operations import POSITION_HEADER, Access, Call, Operation
from gateway.parts import Connect, Parts
from gateway.problems import HANDLED, Problem, on_error, unavailable
from gateway.routes import all_operations
from gateway.settings import Settings
from gateway.tail.endpoint import TailSocket

#: Longer than everything that is waited for on the way together; past it something hangs.
ANSWER_SECONDS_MAX = 20.0

_EXPOSED = (
    POSITION_HEADER,
    "ETag",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    REQUEST_ID_HEADER,
)


class Application(Starlette):
    """Starlette, with our surroundings outside of everything: failures too have an id and a
    measure."""

    def __init__(self, metrics: Metrics, **options: Any) -> None:
        super().__init__(**options)
        self._metrics = metrics
        self.state.parts = None

    def build_middleware_stack(self) -> ASGIApp:
        return Surround(super().build_middleware_stack(), self._metrics)


class Gate:
    """Lets a request through to its operation: token, scope, rate, in this order."""

    def __init__(self, verifier: Verifier, rate: RateLimit, metrics: Metrics) -> None:
        self.verifier = verifier
        self.rate = rate
        self._metrics = metrics

    async def admit(self, request: Request, access: Access) -> Principal | None:
        """Who calls; None where nobody need say.

        Raises:
            Problem: 401, 403 or 429.
        """
        principal = await self._principal(request, access)
        if principal is None:
            return None
        allowance = self.rate.take(principal.user_id)
        request.scope["further_headers"] = allowance.headers
        if not allowance.allowed:
            self._metrics.refused_by_rate.inc()
            raise Problem(
                429, f"{allowance.limit} requests a minute are allowed; wait for Retry-After"
            )
        if access.scopes and not principal.may(*access.scopes):
            raise forbidden(*access.scopes)
        return principal

    async def _principal(self, request: Request, access: Access) -> Principal | None:
        if not access.knows_callers:
            return None
        token = bearer(request.headers.get("authorization"))
        if token is None:
            if access.needs_token:
                raise challenge(None)
            return None
        try:
            return await self.verifier.verify(token)
        except NotAuthenticated as error:
            if access.needs_token:
                raise challenge(str(error)) from None
            return None


def create_app(settings: Settings, connect: Connect) -> Starlette:
    """The application; nothing is opened before its lifespan begins.

    Raises:
        SettingsWrong: a key can't be used.
    """
    metrics = Metrics()
    keys = ManyKeys(
        (
            fixed_keys(settings.tokens),
            *([JwksKeys(settings.tokens.jwks_url)] if settings.tokens.jwks_url else []),
        )
    )
    gate = Gate(
        Verifier(settings.tokens, keys, settings.tenant),
        RateLimit(settings.rate_limit_per_minute),
        metrics,
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        async with connect(settings) as parts:
            app.state.parts = parts
            unwatch = metrics.watch(parts)
            try:
                yield {"parts": parts}
            finally:
                unwatch()
                parts.hub.stop("this process ends")

    operations = all_operations(metrics)
    return Application(
        metrics,
        routes=[*_routes(operations, gate), WebSocketRoute("/ws/sync", _tail(gate))],
        middleware=_middleware(settings),
        exception_handlers={**dict.fromkeys(HANDLED, on_error), Exception: on_error},
        lifespan=lifespan,
    )


def _middleware(settings: Settings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["*"],
            expose_headers=list(_EXPOSED),
            max_age=600,
        )
    ]


def _routes(operations: Sequence[Operation], gate: Gate) -> list[BaseRoute]:
    """One route per path: a method that a path does not have is 405, not 404."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [
        Route(path, _endpoint(path, methods, gate), methods=list(methods))
        for path, methods in by_path.items()
    ]


def _endpoint(path: str, methods: Mapping[str, Operation], gate: Gate) -> Any:
    async def endpoint(request: Request) -> Response:
        request.scope["operation_path"] = path
        method = "GET" if request.method == "HEAD" else request.method
        operation = methods[method]
        principal = await gate.admit(request, operation.access)
        parts: Parts = request.state.parts
        return await _within(ANSWER_SECONDS_MAX, operation.handle(Call(request, principal, parts)))

    return endpoint


async def _within(seconds: float, answering: Awaitable[Response]) -> Response:
    """The answer, or the refusal at the end of the time.

    What is given up is cancelled but not waited for: a driver may wait in it, in good faith, for a
    server that hangs.
    """
    task = asyncio.ensure_future(answering)
    task.add_done_callback(_seen)
    try:
        await asyncio.wait([task], timeout=seconds)
        if task.done():
            return task.result()
    finally:
        task.cancel()
    raise unavailable("a part that this needs is too slow now; try again")


def _seen(task: asyncio.Future[Response]) -> None:
    """Whoever asked was told already."""
    if not task.cancelled():
        task.exception()


def _tail(gate: Gate) -> Any:
    async def tail(websocket: WebSocket) -> None:
        parts: Parts = websocket.state.parts
        await TailSocket(gate.verifier, gate.rate, parts.admission).serve(websocket)

    return tail

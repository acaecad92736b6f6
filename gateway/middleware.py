"""Around every request: its id, its headers, its measure, and the last word on failures."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.metrics import Metrics
from schemas.envelope import uuid7

REQUEST_ID_HEADER = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")

#: For everything; pages that need more say so themselves (`pages`).
SECURE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000",
}
_SECURE = tuple((n.lower().encode(), value.encode()) for n, value in SECURE_HEADERS.items())
_ID_NAME = REQUEST_ID_HEADER.lower().encode()


class Surround:
    """Gives each request an id, each answer the secure headers, and counts both."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = scope["request_id"] = _request_id(scope)
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        began = self._clock()
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _complete(message, request_id, scope.get("further_headers", {}))
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            # The route's pattern, not the path: paths are without number.
            route = scope.get("operation_path", "unknown")
            self._metrics.observe(scope["method"], route, status, self._clock() - began)


def _complete(message: Message, request_id: str, further: Mapping[str, str]) -> None:
    """Add to an answer's headers what is not in them; names on the wire are in small letters."""
    headers = [item for item in message["headers"] if item[0] != _ID_NAME]
    given = {name for name, _ in headers}
    headers.append((_ID_NAME, request_id.encode("latin-1")))
    headers += [item for item in _SECURE if item[0] not in given]
    for name, value in further.items():
        encoded = name.lower().encode("latin-1")
        if encoded not in given:
            headers.append((encoded, value.encode("latin-1")))
    message["headers"] = headers


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID_HEADER)
    return given if given is not None and _REQUEST_ID.fullmatch(given) else uuid7()

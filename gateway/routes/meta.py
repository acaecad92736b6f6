"""What machines and newcomers ask first: health, metrics, documents, the page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from gateway import openapi
from gateway.answers import json_answer
from gateway.health import Health
from gateway.metrics import Metrics
from gateway.operations import PROBE, PUBLIC, Call, Operation, Shape
from gateway.problems import Problem, not_found
from schemas import export
from schemas.registry import TYPES

#: Pages load only what this server has, and run no script that stands in them.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_PAGES = {
    "docs.html": "text/html",
    "docs.js": "text/javascript",
    "docs.css": "text/css",
}


class Alive(Shape):
    """The process answers."""

    status: str


class Ready(Shape):
    """All parts answer."""

    status: str
    parts: dict[str, str]


class Meta:
    """The operations, with what they show."""

    def __init__(
        self, metrics: Metrics, health: Health, document: Callable[[], dict[str, Any]]
    ) -> None:
        self._metrics = metrics
        self._health = health
        self._document = document

    async def alive(self, call: Call) -> Response:
        """Liveness: no part is asked."""
        return json_answer({"status": "ok"})

    async def ready(self, call: Call) -> Response:
        """Readiness: every part answers."""
        state = await self._health.state(call.parts)
        down = {name: why for name, why in state.items() if why is not None}
        parts = {name: down.get(name, "up") for name in state}
        if down:
            raise Problem(
                503,
                "; ".join(f"{name}: {why}" for name, why in down.items()),
                headers={"Retry-After": "1"},
                members={"parts": parts},
            )
        return json_answer({"status": "ready", "parts": parts})

    async def metrics(self, call: Call) -> Response:
        """For Prometheus."""
        text = generate_latest(self._metrics.registry)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def openapi(self, call: Call) -> Response:
        """The OpenAPI document of these routes."""
        return json_answer(self._document())

    async def asyncapi(self, call: Call) -> Response:
        """The AsyncAPI document of the topics."""
        return json_answer(_asyncapi())

    async def schema(self, call: Call) -> Response:
        """The JSON Schema of one event type."""
        found = _schemas().get(call.path("type"))
        if found is None:
            raise not_found("there is no type of that name; it ends in its version")
        return Response(found, media_type="application/schema+json")

    async def docs(self, call: Call) -> Response:
        """The page that shows the OpenAPI document."""
        return _page("docs.html")

    async def page(self, call: Call) -> Response:
        """What the page is made of."""
        name = call.path("file")
        if name not in _PAGES:
            raise not_found()
        return _page(name)


def _page(name: str) -> Response:
    return Response(
        _file(name),
        media_type=_PAGES[name],
        headers={"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-cache"},
    )


@cache
def _file(name: str) -> bytes:
    return (files("gateway") / "pages" / name).read_bytes()


@cache
def _asyncapi() -> dict[str, Any]:
    return export.asyncapi()


@cache
def _schemas() -> dict[str, bytes]:
    return {name: orjson.dumps(export.event_schema(known)) for name, known in TYPES.items()}


def operations(
    metrics: Metrics, health: Health, others: Sequence[Operation]
) -> tuple[Operation, ...]:
    """The operations; the OpenAPI document shows ``others`` and these."""

    @cache
    def document() -> dict[str, Any]:
        return openapi.document([*others, *own], version("streams-backbone"))

    meta = Meta(metrics, health, document)
    own = (
        Operation("GET", "/health", meta.alive, "The process answers", PROBE, answer=Alive),
        Operation("GET", "/ready", meta.ready, "All parts answer", PROBE, answer=Ready),
        Operation(
            "GET", "/metrics", meta.metrics, "For Prometheus", PROBE, media_type="text/plain"
        ),
        Operation("GET", "/openapi.json", meta.openapi, "This document", PUBLIC),
        Operation("GET", "/asyncapi.json", meta.asyncapi, "The topics and their events", PUBLIC),
        Operation(
            "GET",
            "/schemas/{type}.json",
            meta.schema,
            "The JSON Schema of an event type, named with its version",
            PUBLIC,
            media_type="application/schema+json",
        ),
        Operation(
            "GET", "/docs", meta.docs, "These documents, to read", PUBLIC, media_type="text/html"
        ),
        Operation(
            "GET", "/docs/{file}", meta.page, "Parts of the page", PUBLIC, media_type="text/css"
        ),
    )
    return own

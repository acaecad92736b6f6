"""What a worker says of itself over HTTP: `/health`, `/ready`, `/metrics`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from projections.health import Health
from streams.metrics import Metrics

#: Seconds that open answers get at the end.
SHUTDOWN_SECONDS_MAX = 1.0


class CannotListen(Exception):
    """The port is taken, or is not one of this machine's; the message names it."""


@asynccontextmanager
async def serving(health: Health, metrics: Metrics, host: str, port: int) -> AsyncIterator[str]:
    """Serve for the length of the block; gives the URL.

    Raises:
        CannotListen: the port can't be had.
    """
    app = web.Application()
    status = _Status(health, metrics)
    app.router.add_get("/health", status.health)
    app.router.add_get("/ready", status.ready)
    app.router.add_get("/metrics", status.metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS_MAX)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise CannotListen(
                f"nothing can listen on {host}:{port} ({error.strerror}); STREAMS_WORKER_HOST and"
                " STREAMS_WORKER_PORT say where, port 0 takes any free one"
            ) from error
        address = runner.addresses[0]
        yield f"http://{address[0]}:{address[1]}"
    finally:
        await runner.cleanup()


class _Status:
    def __init__(self, health: Health, metrics: Metrics) -> None:
        self._health = health
        self._metrics = metrics

    async def health(self, _request: web.Request) -> web.Response:
        """The process lives and answers."""
        return web.json_response({"status": "ok"})

    async def ready(self, _request: web.Request) -> web.Response:
        """503 with the reasons while it does not fold, or not all that it should."""
        document = state_of(self._health)
        return web.json_response(document, status=200 if document["ready"] else 503)

    async def metrics(self, _request: web.Request) -> web.Response:
        """In Prometheus's text format."""
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def state_of(health: Health) -> dict[str, Any]:
    """Whether the worker folds, and what it waits for."""
    reasons = [
        {
            "part": trouble.part,
            "what": trouble.what,
            "error": trouble.error,
            "since": trouble.since.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        for trouble in health.troubles
    ]
    if health.partitions is None:
        reasons.append({"part": "kafka", "what": "waits for partitions", "error": "", "since": ""})
    return {"ready": not reasons, "partitions": health.partitions, "reasons": reasons}

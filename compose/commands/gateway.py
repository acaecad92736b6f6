"""`streams gateway`: the composition root of a gateway process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compose.errors import CommandError
from compose.exit_codes import ExitCode
from compose.running import run_until_signalled, set_up_logging
from compose.settings import read_settings

if TYPE_CHECKING:
    from gateway.log import Log
    from gateway.settings import Settings
    from schemas.codec import Encoded
    from schemas.position import Position
    from streams.producer import Producer, ProducerSettings

#: Somebody waits for the answer: what the log has not confirmed by then is a 503.
DELIVERY_SECONDS_MAX = 10.0


def gateway(
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes any free one. Default: 4025.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
) -> None:
    """Serve HTTP and WebSocket, until SIGTERM."""
    import gateway.settings

    set_up_logging()
    try:
        settings, folder = read_gateway_settings(port, host)
    except gateway.settings.SettingsWrong as error:
        raise CommandError(str(error), ExitCode.SETTINGS) from None

    async def main(stop: asyncio.Event) -> None:
        await run_gateway(settings, folder, stop)

    run_until_signalled(main)


def read_gateway_settings(port: int | None, host: str | None) -> tuple[Settings, Path | None]:
    """The settings, and the folder of the local stack that is served, if it is one.

    With a local stack, tokens of `streams token` are believed unless other keys are given.

    Raises:
        SettingsWrong: (of `compose.settings` or `gateway.settings`) something is missing or wrong.
    """
    from compose.local import state, tokens
    from gateway.settings import settings_of

    shared = read_settings(os.environ)
    local = state.folder_of(None)
    folder = local if state.running(local) is not None else None
    given: dict[str, Any] = {
        "kafka": shared.kafka,
        "postgres": shared.postgres,
        "clickhouse": shared.clickhouse,
        "tenant": shared.tenant,
    }
    has_keys = any(name.startswith("STREAMS_JWT_") for name in os.environ)
    if folder is not None and not has_keys:
        given["tokens"] = {"secret": tokens.secret(folder)}
    environ = dict(os.environ)
    if port is not None:
        environ["STREAMS_GATEWAY_PORT"] = str(port)
    if host is not None:
        environ["STREAMS_GATEWAY_HOST"] = host
    return settings_of(environ, given), folder


async def run_gateway(settings: Settings, folder: Path | None, stop: asyncio.Event) -> None:
    """Listen, say where, and serve until ``stop`` is set."""
    from compose.local import state
    from gateway.app import create_app
    from gateway.parts import connecting
    from gateway.server import serving

    app = create_app(settings, connecting(lambda: open_log(settings)))
    async with serving(app, settings.host, settings.port) as url:
        if folder is not None:
            state.register_gateway(folder, url)
        typer.echo(f"listening on {url}", err=True)
        await stop.wait()


@asynccontextmanager
async def open_log(settings: Settings) -> AsyncIterator[Log]:
    """The log as the gateway needs it, through our producer.

    Raises:
        Unavailable: no broker answers.
    """
    from streams.producer import ProducerSettings

    log = ProducerLog(
        ProducerSettings(
            bootstrap=settings.kafka,
            client_id="streams-gateway",
            tenant=settings.tenant,
            # People wait for single events; those who send many bring them together anyway.
            linger_ms=0,
            delivery_seconds_max=DELIVERY_SECONDS_MAX,
        )
    )
    try:
        await log.open()
        yield log
    finally:
        await log.close()


class ProducerLog:
    """Appends through a producer, and takes a new one when the broker is done with the old.

    After an outage longer than its delivery timeout an idempotent producer may be refused for good
    (Tansu fences it). What is sent again has the same ids, so a second copy does no harm.
    """

    def __init__(self, settings: ProducerSettings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> Producer:
        """The producer in use; raises Unavailable."""
        from projections.store import Unavailable
        from streams.producer import BrokerAway, Producer

        async with self._opening:
            if self._producer is None:
                try:
                    self._producer = await Producer(self._settings).__aenter__()
                except BrokerAway as error:
                    raise Unavailable(str(error)) from error
            return self._producer

    async def close(self) -> None:
        """Let go of what is on its way; whoever waits for it has been told, or has gone."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.__aexit__(asyncio.CancelledError, None, None)

    async def append(self, events: Sequence[Encoded]) -> Sequence[Position]:
        """See `gateway.log.Log`."""
        from projections.store import Unavailable
        from streams.producer import NotAccepted, ProducerError

        producer = await self.open()
        try:
            return await producer.send_encoded(events)
        except NotAccepted:
            if self._producer is producer:
                await self.close()
            producer = await self.open()
        except ProducerError as error:
            raise Unavailable(str(error)) from error
        try:
            return await producer.send_encoded(events)
        except ProducerError as error:
            raise Unavailable(str(error)) from error

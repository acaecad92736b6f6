"""The HTTP server: uvicorn, with what it leaves open about WebSockets settled.

`websockets`' sans-I/O implementation under uvicorn does three things that this module changes:
it leaves a client without an answer whose request line or headers are too long; it makes a close
frame wait until a slow client has read everything before it; and it lets a client that never reads
keep its connection for ever. The tests hold these three against new versions.

And it adds one: a message may have several `texts`, which are written at once, each in a frame.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

from gateway.parts import Parts

#: After its close frame a client gets this long to read what was sent before it.
LINGER_SECONDS = 30.0

#: What a client may send us on the tail; it has nothing to say.
CLIENT_MESSAGE_BYTES_MAX = 64 * 1024

#: At the end, open requests get this long.
SHUTDOWN_SECONDS_MAX = 5


#: The first byte of a frame that is a whole text message.
_TEXT = 0x81

#: uvicorn has no event for "listening"; this is how often its flag is looked at.
STARTED_POLL_SECONDS = 0.01


class CannotServe(Exception):
    """The server can't start; the message says why."""


class TailProtocol(WebSocketsSansIOProtocol):
    """See the module."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # The answer (414 or 431) has been made and waits to be written.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    async def send(self, message: Any) -> None:
        if "texts" in message:
            await self._send_texts(message["texts"])
            return
        if message["type"] == "websocket.close" and self.handshake_complete:
            # Nothing comes after it, so it may go behind whatever is still in the buffer.
            self.writable.set()
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        await super().send(message)

    async def _send_texts(self, texts: Sequence[str]) -> None:
        if not self.writable.is_set():
            await self.writable.wait()
        if self.disconnected or self.close_sent or self.conn.state is not State.OPEN:
            raise ClientDisconnected
        self.transport.write(b"".join(map(_text_frame, texts)))


def _text_frame(text: str) -> bytes:
    """A whole text message as servers send it: not masked (RFC 6455, 5.2)."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((_TEXT, size)) + payload
    if size < 1 << 16:
        return bytes((_TEXT, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big") + payload


class Server(uvicorn.Server):
    """Tells the application before connections are closed, so that streams end by themselves."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise CannotServe("a part could not be opened; the log says which") from None

    async def run(self, listener: socket.socket) -> None:  # type: ignore[override]
        """Serve until ``should_exit``; signals are the composition root's."""
        await self._serve([listener])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        # One turn for what was ended to write its last words.
        await asyncio.sleep(0)
        await super().shutdown(sockets)


def configure(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    """How the gateway is served. Messages are not compressed: that would be done anew for every
    client, and the same bytes go to all."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws=TailProtocol,
        ws_max_size=CLIENT_MESSAGE_BYTES_MAX,
        ws_per_message_deflate=False,
        # Heartbeats keep connections alive; a ping would end a client that is merely slow.
        ws_ping_interval=None,
        lifespan="on",
        access_log=False,
        log_config=None,
        # A line for each connection says nothing that the metrics do not.
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
    )


@asynccontextmanager
async def serving(app: Starlette, host: str, port: int) -> AsyncIterator[str]:
    """Serve for as long as the block lasts; gives the URL once it listens.

    Raises:
        CannotServe: the port is taken, or a part could not be opened.
    """
    listener = _listen(host, port)
    server = Server(configure(app, host, port), lambda: _end_streams(app))
    task = asyncio.create_task(server.run(listener), name="http server")
    try:
        while not server.started:
            await asyncio.wait({task}, timeout=STARTED_POLL_SECONDS)
            if task.done():
                break
        else:
            yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CannotServe(f"can't listen on {host}:{port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def _end_streams(app: Starlette) -> None:
    parts: Parts | None = app.state.parts
    if parts is not None:
        parts.hub.stop("this process ends")

"""The process that holds the engine: `python -m compose.local.clickhouse_http.server`.

Ends on SIGTERM with the engine's data written out; what was answered before a SIGKILL is in the
folder too.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from aiohttp import web

from compose.local.clickhouse_http.encoding import (
    BadEncoding,
    Encoder,
    Frames,
    HttpEncoder,
    Plain,
    choose,
    decode,
    unframe,
)
from compose.local.clickhouse_http.engine import Answer, Engine, EngineError, refuse
from compose.local.clickhouse_http.protocol import (
    Options,
    call_of,
    head_of,
    late_error,
    options_of,
    status_of,
)

# Statements at a time; more wait. Each has a thread of its own while the engine works for it.
STATEMENTS_MAX = 32
# A request is held whole in memory, as is an INSERT's block in any client.
BODY_SIZE_BYTES_MAX = 1 << 30
# A result up to here is sent with its length and, if it fails, with an error's status; a longer
# one is sent as it comes, so that memory stays bounded.
HELD_BACK_BYTES_MAX = 1 << 20
# What a kept-alive connection may idle: longer than clients keep theirs, so that they close first.
IDLE_SECONDS_MAX = 120
_NOT_IMPLEMENTED, _CANNOT_DECOMPRESS = 48, 271

T = TypeVar("T")


class Endpoint:
    """Answers requests from the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(STATEMENTS_MAX, "statement")

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application(client_max_size=BODY_SIZE_BYTES_MAX)
        for path in ("/ping", "/replicas_status"):
            application.router.add_get(path, _ok)
        application.router.add_route("*", "/", self.answer)
        return application

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Run the request's statement."""
        parameters = dict(request.query)
        options = options_of(parameters, request.headers, str(uuid.uuid4()))
        if request.method in ("GET", "HEAD") and "query" not in parameters:
            return await _ok(request)
        started = time.monotonic_ns()
        try:
            body = await self._body(request, parameters)
            reading = request.method in ("GET", "HEAD")
            call = call_of(parameters, request.headers, body, reading=reading)
            answer = await self._in_thread(lambda: self._engine.run(call))
            return await self._send(request, answer, options, started)
        except EngineError as error:
            return _refusal(error, options)

    def close(self) -> None:
        """Wait for running statements, then close the engine."""
        self._threads.shutdown(cancel_futures=True)
        self._engine.close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _body(self, request: web.Request, parameters: dict[str, str]) -> bytes:
        """The body, decompressed; a form's fields go to `parameters`."""
        if request.content_type == "multipart/form-data":
            for name, value in (await request.post()).items():
                if not isinstance(value, str):
                    why = "external tables are not supported here"
                    raise refuse(_NOT_IMPLEMENTED, "NOT_IMPLEMENTED", why)
                parameters[name] = value
            return b""
        body = await request.read()
        encoding = request.headers.get("Content-Encoding", "")
        framed = parameters.get("decompress") == "1"
        if not body or not (encoding or framed):
            return body
        try:
            decoded = await self._in_thread(lambda: decode(body, encoding))
            return await self._in_thread(lambda: unframe(decoded)) if framed else decoded
        except BadEncoding as error:
            raise refuse(_CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS", str(error)) from error

    async def _send(
        self, request: web.Request, answer: Answer, options: Options, started: int
    ) -> web.StreamResponse:
        tag = secrets.token_hex(8)
        encoder, encoding = _encoder(options)
        held, ended = await self._in_thread(lambda: _hold_back(answer.pieces))
        headers = head_of(answer, options, time.monotonic_ns() - started, tag)
        if encoding:
            headers["Content-Encoding"] = encoding
        if ended:
            return web.Response(body=encoder.feed(held) + encoder.end(), headers=headers)
        response = web.StreamResponse(headers=headers)
        try:
            await response.prepare(request)
            await response.write(encoder.feed(held))
            await self._send_rest(response, answer, encoder, tag)
        except ConnectionResetError:
            # The client has seen enough and hung up: no fault of anyone.
            return response
        finally:
            # Also then: cancels the statement.
            await self._in_thread(lambda: _close(answer.pieces))
        return response

    async def _send_rest(
        self, response: web.StreamResponse, answer: Answer, encoder: Encoder, tag: str
    ) -> None:
        try:
            while (piece := await self._in_thread(lambda: next(answer.pieces, None))) is not None:
                await response.write(encoder.feed(piece))
        except EngineError as error:
            await response.write(encoder.feed(late_error(str(error), tag)))
        await response.write(encoder.end())
        await response.write_eof()


def _hold_back(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """The first pieces up to the limit, and whether these were all."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= HELD_BACK_BYTES_MAX:
            return bytes(held), False
    return bytes(held), True


def _close(pieces: Iterator[bytes]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()


def _encoder(options: Options) -> tuple[Encoder, str | None]:
    if options.framed:
        return Frames(), None
    encoding = choose(options.accepts)
    return (HttpEncoder(encoding), encoding) if encoding else (Plain(), None)


def _refusal(error: EngineError, options: Options) -> web.Response:
    headers = {
        "X-ClickHouse-Exception-Code": str(error.code),
        "X-ClickHouse-Query-Id": options.query_id,
        "X-ClickHouse-Server-Display-Name": "local",
    }
    return web.Response(status=status_of(error.name), text=f"{error}\n", headers=headers)


async def _ok(_request: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


async def serve(folder: Path, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, ended.set)
    endpoint = Endpoint(Engine(folder))
    runner = web.AppRunner(
        endpoint.application(),
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=IDLE_SECONDS_MAX,
        shutdown_timeout=5,
        # A long URL is a long statement: the limit is the server's (http_max_uri_size).
        max_line_size=1 << 20,
        max_field_size=1 << 17,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await ended.wait()
    finally:
        await runner.cleanup()
        endpoint.close()


def main() -> None:
    """The process."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, required=True)
    given = arguments.parse_args()
    # Times without a zone are UTC, wherever the machine stands.
    os.environ["TZ"] = "UTC"
    time.tzset()
    asyncio.run(serve(given.folder, given.host, given.port))


if __name__ == "__main__":
    main()

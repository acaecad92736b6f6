"""A TCP proxy before each server, through which workers, relay and gateway must go.

It runs in a thread of its own, so that what the conductor does never holds up a byte. Everything
that is done to it holds for all its connections, those that are open and those to come.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

HOST = "127.0.0.1"

#: What one step of a connection carries at most.
CHUNK_BYTES_MAX = 1 << 18

#: How long the proxy's own thread may take for what it is told, in seconds.
ANSWER_SECONDS_MAX = 10.0

#: A socket closed with this set tells the other side by a reset, as a cut line does.
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """One port before one server; its methods are for any thread."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.connections = 0
        """Connections taken so far."""
        self._loop = loop
        self._server_port: int | None = None
        self._refusing = False
        self._delay_seconds = 0.0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._socket = socket.create_server((HOST, 0), backlog=256)
        self.port: int = self._socket.getsockname()[1]

    def lead_to(self, port: int) -> None:
        """From now on connections go to this port of 127.0.0.1; until then they are refused."""
        self._server_port = port

    def cut(self) -> int:
        """Reset every open connection; how many ends that were. New ones are taken."""
        return self._do(self._cut)

    def refuse(self, on: bool) -> None:
        """Reset new connections at once, or take them again."""
        self._refusing = on

    def delay(self, seconds: float) -> None:
        """Hold back what passes, in either direction, for so long; 0 to end it."""
        self._delay_seconds = seconds

    def stall(self, on: bool) -> None:
        """Connections stay open and no byte passes; afterwards what was held passes."""
        self._do(self._flowing.clear if on else self._flowing.set)

    async def serve(self) -> None:
        """Take connections until cancelled; for the proxies' own loop."""
        server = await asyncio.start_server(self._carry, sock=self._socket, limit=CHUNK_BYTES_MAX)
        async with server:
            try:
                await server.serve_forever()
            finally:
                self._cut()

    def _do(self, what: Callable[[], int | None]) -> int:
        async def call() -> int:
            return what() or 0

        asked = asyncio.run_coroutine_threadsafe(call(), self._loop)
        return asked.result(ANSWER_SECONDS_MAX)

    def _cut(self) -> int:
        ends = list(self._open)
        for writer in ends:
            _reset(writer)
        return len(ends)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refusing or self._server_port is None:
            _reset(writer)
            return
        ends = [writer]
        self._open.add(writer)
        try:
            back, there = await asyncio.open_connection(
                HOST, self._server_port, limit=CHUNK_BYTES_MAX
            )
            ends.append(there)
            self._open.add(there)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, there))
                both.create_task(self._pump(back, writer))
            # Both sides have ended in order: what is still on its way is to arrive.
            writer.close()
            there.close()
        except* OSError:
            # One side is gone: the other learns of it below.
            pass
        finally:
            for end in ends:
                self._open.discard(end)
                _reset(end)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES_MAX):
            if self._delay_seconds:
                await asyncio.sleep(self._delay_seconds)
            await self._flowing.wait()
            if writer.is_closing():
                raise ConnectionAbortedError
            writer.write(data)
            await writer.drain()
        if not writer.is_closing():
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    if writer.transport.is_closing():
        return
    end = writer.get_extra_info("socket")
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@contextmanager
def proxies(names: Sequence[str]) -> Iterator[dict[str, Proxy]]:
    """A proxy for each name, for the length of the block; each waits for its `lead_to`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxies")
    thread.start()
    with ExitStack() as ends:
        ends.callback(loop.close)
        ends.callback(thread.join)
        ends.callback(loop.call_soon_threadsafe, loop.stop)
        ends.callback(lambda: asyncio.run_coroutine_threadsafe(_end_all(), loop).result())
        made = {name: Proxy(name, loop) for name in names}
        for proxy in made.values():
            asyncio.run_coroutine_threadsafe(proxy.serve(), loop)
        yield made


async def _end_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)

"""Many WebSocket clients of the tail, in a process of its own.

Raw RFC 6455 over one event loop: what a client library does for a message would cost more than what
is measured. It finds the moment at which an event was produced in the event's id, and says what it
has counted when it is asked, by lines on its standard input.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from tests.benchmarks.measure import quantiles

#: Before the nanoseconds since 1970 in an event's id.
STAMP = "b-"
_STAMPED = f'"id":"{STAMP}'.encode()
_STAMP_DIGITS = 19

#: What a reader that is to be slow lets the kernel keep for it.
SLOW_BUFFER_BYTES = 4_096

#: Handshakes under way at once.
HANDSHAKES = 64

#: How long the process waits for its clients to be live.
LIVE_SECONDS_MAX = 600.0

_CLOSE = 8


class Reader(msgspec.Struct):
    """One client: who, and whether it stops reading once it is live."""

    token: str
    query: str = ""
    slow: bool = False


class Crowd(msgspec.Struct):
    """All clients of one gateway."""

    port: int
    readers: list[Reader]


class Received(msgspec.Struct):
    """What came since it was asked last."""

    events: int
    #: Milliseconds from produced to received.
    p50: float
    p99: float
    max: float
    #: Nanoseconds since 1970 of the last event that came.
    last_at: int
    #: Connections that ended, by their close code.
    closed: dict[str, int]
    cpu_seconds: float


def stamp() -> str:
    """An id that says when the event was made."""
    return f"{STAMP}{time.time_ns():0{_STAMP_DIGITS}d}"


class Sockets:
    """The process with the clients, from outside."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def count(self) -> int:
        """How many events have come since they were taken last."""
        return int(self._ask("count"))

    def take(self) -> Received:
        """What came since it was taken last."""
        return msgspec.json.decode(self._ask("take"), type=Received)

    def live(self) -> int:
        """Wait until all clients are live; how many they are."""
        return int(self._line())

    def _ask(self, word: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process with the WebSocket clients has ended")
        return line.decode()


@contextmanager
def connected(crowd: Crowd) -> Iterator[Sockets]:
    """Clients in a process of their own, all live, for the length of the block."""
    with tempfile.NamedTemporaryFile(prefix="streams-sockets-") as file:
        Path(file.name).write_bytes(msgspec.msgpack.encode(crowd))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.sockets", file.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            sockets = Sockets(process)
            sockets.live()
            yield sockets
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


# Inside the process ------------------------------------------------------------------------


class _Counts:
    """What all clients of the process have received."""

    def __init__(self) -> None:
        self.milliseconds = array("d")
        self.last_at = 0
        self.closed: Counter[str] = Counter()
        self._cpu = time.process_time()

    def take(self) -> Received:
        times = quantiles(self.milliseconds)
        cpu = time.process_time()
        found = Received(
            len(self.milliseconds),
            times.get("p50", 0.0),
            times.get("p99", 0.0),
            times.get("max", 0.0),
            self.last_at,
            dict(self.closed),
            cpu - self._cpu,
        )
        self.milliseconds, self.last_at, self._cpu = array("d"), 0, cpu
        self.closed.clear()
        return found


class _Client(asyncio.Protocol):
    """One WebSocket; frames of servers are not masked."""

    def __init__(self, reader: Reader, port: int, counts: _Counts) -> None:
        self.live: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = reader
        self._port = port
        self._counts = counts
        self._transport: Any = None
        self._rest = b""
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET /ws/sync{self._reader.query} HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            f"Authorization: Bearer {self._reader.token}",
            "",
            "",
        )
        self._transport.write("\r\n".join(lines).encode())

    def data_received(self, data: bytes) -> None:
        came = self._rest + data if self._rest else data
        at = 0
        if not self._is_open:
            end = came.find(b"\r\n\r\n")
            if end < 0:
                self._rest = came
                return
            if not came.startswith(b"HTTP/1.1 101"):
                self._fail(came[:end].decode(errors="replace"))
                return
            self._is_open, at = True, end + 4
        self._rest = came[self._frames(came, at) :]

    def _frames(self, came: bytes, at: int) -> int:
        """Take all whole frames from here on; where the rest begins."""
        whole = len(came)
        while whole - at >= 2:
            size, start = came[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(came[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(came[at + 2 : at + 10], "big"), at + 10
            if whole < start + size:
                break
            self._frame(came[at] & 0x0F, came, start, start + size)
            at = start + size
        return at

    def _frame(self, opcode: int, came: bytes, start: int, end: int) -> None:
        if opcode == _CLOSE:
            code = int.from_bytes(came[start : start + 2], "big")
            self._counts.closed[str(code)] += 1
            self._fail(f"closed with {code}: {came[start + 2 : end].decode(errors='replace')}")
            return
        stamped = came.find(_STAMPED, start, end)
        if stamped >= 0:
            now, begins = time.time_ns(), stamped + len(_STAMPED)
            produced = int(came[begins : begins + _STAMP_DIGITS])
            self._counts.milliseconds.append((now - produced) / 1e6)
            self._counts.last_at = now
        elif came.startswith(b'{"kind":"live"', start):
            if self._reader.slow:
                self._transport.pause_reading()
            if not self.live.done():
                self.live.set_result(None)

    def _fail(self, why: str) -> None:
        if not self.live.done():
            self.live.set_exception(RuntimeError(why))
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.live.done():
            self.live.set_exception(RuntimeError(f"the connection was lost: {error}"))


async def _connect(
    crowd: Crowd, reader: Reader, counts: _Counts, slots: asyncio.Semaphore
) -> _Client:
    loop = asyncio.get_running_loop()
    async with slots, asyncio.timeout(LIVE_SECONDS_MAX):
        made = socket.socket()
        made.setblocking(False)
        if reader.slow:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
        await loop.sock_connect(made, ("127.0.0.1", crowd.port))
        _, client = await loop.create_connection(
            lambda: _Client(reader, crowd.port, counts), sock=made
        )
        await client.live
    return client


async def _serve(crowd: Crowd) -> None:
    counts, slots = _Counts(), asyncio.Semaphore(HANDSHAKES)
    clients = await asyncio.gather(
        *(_connect(crowd, reader, counts, slots) for reader in crowd.readers)
    )
    _say(str(len(clients)))
    loop = asyncio.get_running_loop()
    while word := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if word == "count":
            _say(str(len(counts.milliseconds)))
        else:
            _say(json.dumps(msgspec.to_builtins(counts.take())))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    uvloop.run(_serve(msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Crowd)))

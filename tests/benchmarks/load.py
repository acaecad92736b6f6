"""An HTTP load client: raw HTTP/1.1 over connections that are kept, in a process of its own.

It writes requests that were made before and looks only for the end of each answer, so that it costs
little beside what it measures: `ceiling` of the gateway's benchmark says how little.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from tests.benchmarks.measure import quantiles

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "

#: Beyond the time that a load takes: for the process to start and for the last answers.
GRACE_SECONDS = 120.0


class Plan(msgspec.Struct):
    """What a client is to do. Without ``seconds`` each request is sent once."""

    port: int
    connections: int
    requests: list[bytes]
    seconds: float | None = None
    #: Before counting begins.
    warm_seconds: float = 0.0


class Loaded(msgspec.Struct):
    """What became of a load."""

    answers: int
    seconds: float
    #: Milliseconds from a request's first byte out to the answer's last byte in.
    p50: float
    p99: float
    max: float
    #: Answers by their status.
    statuses: dict[str, int]
    #: Processor time of the client itself.
    client_cpu_seconds: float
    bytes: int

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds

    def must_be(self, *statuses: str) -> None:
        """Fail if an answer had another status: refusals are quick, and would look like speed."""
        others = {status: n for status, n in self.statuses.items() if status not in statuses}
        if others or not self.answers:
            raise RuntimeError(f"answers of another kind came: {self.statuses}")


def load(plan: Plan) -> Loaded:
    """Carry out a plan in a process of its own."""
    with tempfile.NamedTemporaryFile(prefix="streams-load-") as file:
        Path(file.name).write_bytes(msgspec.msgpack.encode(plan))
        limit = (plan.seconds or 0.0) + plan.warm_seconds + GRACE_SECONDS
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.load", file.name],
            stdout=subprocess.PIPE,
            check=True,
            timeout=limit if plan.seconds else None,
        )
    return msgspec.json.decode(done.stdout, type=Loaded)


@dataclass
class _Load:
    """A plan being carried out."""

    plan: Plan
    counting_from: float
    ending_at: float
    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    _next: Iterator[bytes] = field(init=False)

    def __post_init__(self) -> None:
        requests = self.plan.requests
        self._next = iter(requests) if self.plan.seconds is None else _again_and_again(requests)

    def request(self) -> bytes | None:
        """What to send next; None at the end."""
        if time.perf_counter() >= self.ending_at:
            return None
        return next(self._next, None)

    def answered(self, sent_at: float, status: str, size: int) -> None:
        now = time.perf_counter()
        if sent_at >= self.counting_from and now <= self.ending_at:
            self.milliseconds.append((now - sent_at) * 1e3)
            self.statuses[status] += 1
            self.bytes += size


def _again_and_again(requests: Sequence[bytes]) -> Iterator[bytes]:
    while True:
        yield from requests


class _Connection(asyncio.Protocol):
    """One request under way at a time."""

    def __init__(self, load: _Load) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._load = load
        self._transport: Any = None
        self._sent_at = 0.0
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = self._load.request()
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._came = came = self._came + data if self._came else data
        end = came.find(_END_OF_HEAD)
        if end < 0:
            return
        at = came.find(_LENGTH, 0, end + 2)
        if at < 0:
            raise RuntimeError(f"an answer without a length: {came[:200]!r}")
        start = at + len(_LENGTH)
        size = end + len(_END_OF_HEAD) + int(came[start : came.index(b"\r\n", start)])
        if len(came) < size:
            return
        self._came = b""
        self._load.answered(self._sent_at, came[9:12].decode(), size)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def _carry_out(plan: Plan) -> Loaded:
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    counting_from = begun + plan.warm_seconds
    ending_at = counting_from + plan.seconds if plan.seconds else float("inf")
    work = _Load(plan, counting_from, ending_at)
    opened = [
        await loop.create_connection(lambda: _Connection(work), "127.0.0.1", plan.port)
        for _ in range(plan.connections)
    ]
    cpu = time.process_time()
    await asyncio.gather(*(connection.over for _, connection in opened))
    times = quantiles(work.milliseconds)
    return Loaded(
        answers=len(work.milliseconds),
        seconds=min(time.perf_counter(), ending_at) - counting_from,
        p50=times.get("p50", 0.0),
        p99=times.get("p99", 0.0),
        max=times.get("max", 0.0),
        statuses=dict(work.statuses),
        client_cpu_seconds=time.process_time() - cpu,
        bytes=work.bytes,
    )


def main(path: str) -> None:
    plan = msgspec.msgpack.decode(Path(path).read_bytes(), type=Plan)
    found = uvloop.run(_carry_out(plan))
    print(json.dumps(msgspec.to_builtins(found)))


if __name__ == "__main__":
    main(sys.argv[1])

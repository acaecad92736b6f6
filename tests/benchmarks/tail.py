"""Many WebSocket clients on one gateway process, with and without readers that do not read."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import psutil

from schemas.envelope import Draft, now
from streams.producer import ProducerSettings, SyncProducer
from tests.benchmarks import past
from tests.benchmarks.measure import Meter, figure
from tests.benchmarks.options import Options
from tests.benchmarks.report import Report
from tests.benchmarks.served import Served, allow_files, serve_gateway, token
from tests.benchmarks.sockets import Crowd, Reader, Received, Sockets, connected, stamp
from tests.benchmarks.stand import Stand, stand

NAME = "tail"
SUMMARY = "deliveries/s, delay and memory of WebSocket clients on one process, slow ones among them"

CLIENTS = 5_000
SLOW = 50

#: Deliveries of the burst that tells what a process can do: events sent at once, to all who see
#: everything and to one person each.
BURST_EVENTS = 40

#: Deliveries of the paced part, and which share of the burst's rate it has.
PACED_EVENTS = 400
PACED_SHARE = 0.5

#: Files that a process needs beside one for each client.
FILES_BESIDE = 500

LOOK_SECONDS = 0.02
DELIVERED_SECONDS_MAX = 600.0


class Flow(NamedTuple):
    """Some events to all clients."""

    deliveries: int
    seconds: float
    received: Received
    gateway_cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.deliveries / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of the gateway for one delivery."""
        return self.gateway_cpu_seconds / self.deliveries * 1e6


class Round(NamedTuple):
    """One crowd, from its coming to its going."""

    burst: Flow
    paced: Flow
    kib_per_client: float
    slow_closed: int


def run(options: Options, report: Report) -> None:
    clients = options.scaled(CLIENTS, 20)
    slow = min(options.scaled(SLOW, 2), clients // 4)
    if allow_files(clients + FILES_BESIDE) < clients + FILES_BESIDE:
        raise RuntimeError(f"{clients} clients need as many open files: raise `ulimit -n`")
    rounds: dict[int, list[Round]] = {0: [], slow: []}
    pace: float | None = None
    with stand(kafka=options.kafka) as place:
        for number in range(options.runs):
            for slow_ones, made in rounds.items():
                _said(f"round {number + 1}, {clients:,} clients, {slow_ones} of them slow")
                done = _round(place, clients, slow_ones, options, pace)
                # One pace for all rounds: delays at different paces can't be compared.
                pace = pace or done.burst.rate * PACED_SHARE
                made.append(done)
    rows = [(f"{count} slow readers", *_figures(made)) for count, made in rounds.items()]
    report.table(
        f"{clients:,} WebSocket clients on one process, half of them see one person each",
        (
            "",
            "deliveries/s, burst",
            "µs of CPU each",
            "deliveries/s, paced",
            "p50 ms",
            "p99 ms",
            "max ms",
            "KiB a client",
            "slow ones closed",
        ),
        rows,
    )


def _figures(rounds: Sequence[Round]) -> tuple[object, ...]:
    paced = [each.paced.received for each in rounds]
    return (
        figure([each.burst.rate for each in rounds]),
        figure([each.burst.cpu_us for each in rounds]),
        figure([each.paced.rate for each in rounds]),
        figure([each.p50 for each in paced]),
        figure([each.p99 for each in paced]),
        figure([each.max for each in paced]),
        figure([each.kib_per_client for each in rounds]),
        figure([float(each.slow_closed) for each in rounds]),
    )


def _round(place: Stand, clients: int, slow: int, options: Options, pace: float | None) -> Round:
    """A gateway of its own, so that its memory is of these clients."""
    with _gateway(place) as gateway:
        before = psutil.Process(gateway.pid).memory_info().rss
        users = past.people(clients // 2)
        with connected(Crowd(gateway.port, _readers(place, clients, slow, users))) as sockets:
            kib = (psutil.Process(gateway.pid).memory_info().rss - before) / 1024 / clients
            seen_by_each = clients - len(users) - slow + 1
            with SyncProducer(ProducerSettings(place.stack.kafka, linger_ms=0)) as producer:
                flows = _Flows(gateway, sockets, producer, users, seen_by_each)
                burst = flows.send(options.scaled(BURST_EVENTS, 5), None)
                rate = (pace or burst.rate * PACED_SHARE) / seen_by_each
                paced = flows.send(options.scaled(PACED_EVENTS, 20), rate)
            closed = burst.received.closed.get("4008", 0) + paced.received.closed.get("4008", 0)
    return Round(burst, paced, kib, closed)


def _readers(place: Stand, clients: int, slow: int, users: Sequence[str]) -> list[Reader]:
    """Half see one person's events each, the others everything; the slow ones are of these."""
    everything = token(place, "usr_operator", "operator")
    others = clients - len(users)
    return [
        *(Reader(token(place, user)) for user in users),
        *(Reader(everything, slow=number < slow) for number in range(others)),
    ]


class _Flows:
    """Sends events and waits until all have come that are to come."""

    def __init__(
        self,
        gateway: Served,
        sockets: Sockets,
        producer: SyncProducer,
        users: Sequence[str],
        seen_by_each: int,
    ) -> None:
        self._gateway = gateway
        self._sockets = sockets
        self._producer = producer
        self._users = users
        self._seen_by_each = seen_by_each
        self._chance = random.Random(5)

    def send(self, events: int, rate: float | None) -> Flow:
        """So many events at this rate a second; None: all at once."""
        self._sockets.take()
        meter = Meter({"gateway": self._gateway.pid}).start()
        began = time.time_ns()
        start = time.monotonic()
        for number in range(events):
            if rate is not None:
                time.sleep(max(0.0, start + number / rate - time.monotonic()))
            self._producer.post([self._draft()])
        self._producer.flush()
        deliveries = events * self._seen_by_each
        self._wait(deliveries)
        usage = meter.stop()
        received = self._sockets.take()
        if received.events != deliveries:
            raise RuntimeError(f"{received.events} deliveries came in place of {deliveries}")
        seconds = (received.last_at - began) / 1e9
        return Flow(deliveries, seconds, received, usage.cpu_seconds["gateway"])

    def _draft(self) -> Draft:
        return past.posting(stamp(), self._chance.choice(self._users), now(), self._chance)

    def _wait(self, deliveries: int) -> None:
        deadline = time.monotonic() + DELIVERED_SECONDS_MAX
        while (came := self._sockets.count()) < deliveries:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{came} of {deliveries} deliveries have come")
            time.sleep(LOOK_SECONDS)


@contextmanager
def _gateway(place: Stand) -> Iterator[Served]:
    """A gateway that ends with the block."""
    gateway = serve_gateway(place)
    try:
        yield gateway
    finally:
        gateway.child.stop()


def _said(line: str) -> None:
    print(f"{NAME}: {line}", file=sys.stderr, flush=True)

"""Traffic at a steady rate, and probes in it whose way is timed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from confluent_kafka import Producer

from schemas.envelope import HEADERS, Draft
from schemas.position import Position
from streams.producer import ProducerSettings
from tests.benchmarks.traffic import Record, record_of

#: Milliseconds that the client may wait for a fuller batch; the same for all that is timed.
LINGER_MS = 1.0

#: Seconds between two looks at what is due.
BEAT_SECONDS = 0.002

#: So many people do nothing but send probes; few enough for their sockets, many enough that none
#: comes near the gateway's limit of requests.
PROBERS = 60
PROBES_A_SECOND = 25
assert PROBES_A_SECOND * 60 / PROBERS < 50, "requests of one person a minute"

#: Seconds that what is under way at the end gets to arrive.
AFTER_SECONDS = 10.0


@dataclass
class Probe:
    """A posting of 1.00 and when it was seen where; seconds of `time.time`."""

    user: str
    id: str
    #: The person's balance once it counts.
    balance: int
    sent: float = 0.0
    seen: dict[str, float] = field(default_factory=dict)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def see(self, where: str) -> None:
        """It has arrived there now; only the first time counts."""
        self.seen.setdefault(where, time.time())
        self._arrived.set()

    async def at(self, where: str) -> None:
        """Return once it has arrived there."""
        while where not in self.seen:
            self._arrived.clear()
            await self._arrived.wait()


def prober(number: int) -> str:
    """The person of that number, from 0."""
    return f"prober_{number}"


def openings() -> list[Record]:
    """The accounts of those who probe, to be in the log before."""
    return [record_of(_opening(prober(number))) for number in range(PROBERS)]


def _opening(user: str) -> Draft:
    data = {
        "account": f"acc_{user}",
        "kind": "savings",
        "currency": "INR",
        "name": "Probing",
        "institution": "BFC Bank",
        "country": "IN",
    }
    return _draft("bfc.account.opened.v1", user, data, f"opening-{user}")


def _posting(probe: Probe) -> Draft:
    data = {
        "transaction": probe.id,
        "account": f"acc_{probe.user}",
        "direction": "credit",
        "amount": "1.00",
        "currency": "INR",
        "status": "posted",
    }
    return _draft("bfc.transaction.posted.v1", probe.user, data, probe.id)


def _draft(kind: str, user: str, data: dict[str, Any], id: str) -> Draft:
    return Draft(
        type=kind,
        source="/benchmark",
        data=data,
        user_id=user,
        subject=data["account"],
        time=datetime.now(UTC),
        id=id,
    )


class Load:
    """A thread that sends what is due, and the client that probes share with it."""

    def __init__(self, kafka: str, records: Iterator[Record], rate: float) -> None:
        settings = ProducerSettings(kafka, client_id="benchmark", linger_ms=LINGER_MS)
        self._producer = Producer(settings.librdkafka())
        self._records = records
        self._rate = rate
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.sent = 0
        #: Seconds by which it was late at worst: how far it can be believed.
        self.late_seconds = 0.0
        #: Whether there were fewer records than time.
        self.ran_out = False

    @contextmanager
    def running(self) -> Iterator[Load]:
        """Send for the length of the block, in a running loop if there are probes.

        What was sent is in the log after it.
        """
        self._thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            self._thread.join()
            self._producer.flush(AFTER_SECONDS)

    def probe(self, probe: Probe, record: Record, loop: asyncio.AbstractEventLoop) -> Any:
        """Send a probe; the future has its position once the log has it."""
        done: asyncio.Future[Position] = loop.create_future()

        def report(error: Any, message: Any) -> None:
            if error is None:
                place = Position(message.topic(), message.partition(), message.offset())
                loop.call_soon_threadsafe(done.set_result, place)
            else:
                loop.call_soon_threadsafe(done.set_exception, RuntimeError(str(error)))

        probe.sent = time.time()
        self._send(record, report)
        return done

    def _run(self) -> None:
        begin = time.monotonic()
        while not self._stopping.is_set():
            elapsed = time.monotonic() - begin
            due = int(elapsed * self._rate) - self.sent
            if due > 0 and not self.ran_out:
                self.late_seconds = max(self.late_seconds, due / self._rate - BEAT_SECONDS)
                part = list(islice(self._records, due))
                self.ran_out = len(part) < due
                for record in part:
                    self._send(record)
                self.sent += len(part)
            self._producer.poll(BEAT_SECONDS)

    def _send(self, record: Record, report: Any = None) -> None:
        headers: Any = list(HEADERS)
        self._producer.produce(
            record.topic, record.value, record.key, headers=headers, on_delivery=report
        )


class Probing:
    """Sends probes at their times; each is followed by whoever is given."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._sent = 0
        self._balances: dict[str, int] = {}

    async def send(self, load: Load, seconds: float, follow: Any = None) -> list[Probe]:
        """Probes for so long; returns them when all that they set off has ended.

        ``follow`` is awaited with each probe and the future of its position; what it raises is
        raised.
        """
        loop = asyncio.get_running_loop()
        probes: list[Probe] = []
        begin = loop.time()
        tasks = []
        while (elapsed := loop.time() - begin) < seconds:
            if len(probes) > elapsed * PROBES_A_SECOND:
                await asyncio.sleep(BEAT_SECONDS)
                continue
            probe = self._next()
            record = record_of(_posting(probe))
            done = load.probe(probe, record, loop)
            tasks.append(asyncio.ensure_future(follow(probe, done) if follow else done))
            probes.append(probe)
        ended, late = await asyncio.wait(tasks, timeout=AFTER_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for task in ended:
            task.result()
        return probes

    def _next(self) -> Probe:
        user = prober(self._sent % PROBERS)
        self._balances[user] = self._balances.get(user, 0) + 1
        self._sent += 1
        return Probe(user, f"probe-{self._run}-{self._sent}", self._balances[user])

"""What the demo shows while it runs: rates, lags, latency and counts, measured from outside."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
from rich.console import Group
from rich.table import Table
from rich.text import Text

#: Latencies that the percentiles are of: the last minute's.
SAMPLES_MAX = 240
PROBE_SECONDS = 0.25

#: Whose account the probe posts to.
PROBE_USER = "usr_probe"


@dataclass
class Figures:
    """What was measured last."""

    events_per_second: float = 0.0
    events: int = 0
    lag: Mapping[str, int] = field(default_factory=dict)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))
    counts: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""


class Ends:
    """Where the log ends, and where it did a moment ago."""

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None

    def rate(self, total: int) -> float:
        """Events a second since the last call."""
        now = time.monotonic()
        before, self._last = self._last, (now, total)
        if before is None or now <= before[0]:
            return 0.0
        return (total - before[1]) / (now - before[0])


def lags(
    ends: Mapping[tuple[str, int], int], positions: Mapping[str, Mapping[tuple[str, int], int]]
) -> dict[str, int]:
    """Events that each projection has before it, over the partitions that it reads."""
    return {
        name: sum(max(0, ends.get(place, 0) - offset) for place, offset in reached.items())
        for name, reached in sorted(positions.items())
    }


def render(figures: Figures, lines: list[str]) -> Group:
    """The screen: figures on top, what to type below."""
    table = Table(box=None, padding=(0, 2), show_header=False)
    table.add_row("events", f"{figures.events:,} in the log, {figures.events_per_second:,.0f}/s")
    lag = "  ".join(f"{name} {count:,}" for name, count in figures.lag.items())
    table.add_row("lag", lag or "-")
    table.add_row("produce to view", _latency(figures.latencies))
    counts = "  ".join(f"{name} {count:,}" for name, count in figures.counts.items())
    table.add_row("in the views", counts or "-")
    if figures.trouble:
        table.add_row("trouble", Text(figures.trouble, style="red"))
    return Group(table, Text(""), *(Text(line) for line in lines))


def _latency(samples: deque[float]) -> str:
    if len(samples) < 2:
        return "measured as soon as the history is folded"
    cuts = statistics.quantiles(samples, n=100)
    return f"p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms over HTTP ({len(samples)})"


async def probe(session: aiohttp.ClientSession, figures: Figures) -> None:
    """Post an event, read the view at the position that the answer named, note the time taken."""
    for number in itertools.count(1):
        began = time.monotonic()
        try:
            await _probe_once(session, number)
            figures.latencies.append(time.monotonic() - began)
            figures.trouble = ""
        except aiohttp.ClientResponseError as error:
            # A view that is not there yet is answered with 503: the history is being folded.
            figures.trouble = "" if error.status == 503 else f"the gateway: {error}"
        except (aiohttp.ClientError, TimeoutError) as error:
            figures.trouble = f"the gateway: {error or type(error).__name__}"
        await asyncio.sleep(PROBE_SECONDS)


async def _probe_once(session: aiohttp.ClientSession, number: int) -> None:
    event = {
        "specversion": "1.0",
        "id": f"probe-{time.time_ns()}",
        "source": "/demo/probe",
        "type": "bfc.transaction.posted.v1",
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "userid": PROBE_USER,
        "data": {
            "transaction": f"probe-{number}",
            "account": "probe",
            "direction": "credit",
            "amount": "1.00",
            "currency": "INR",
            "status": "posted",
        },
    }
    async with session.post("/api/events", json=event) as answer:
        answer.raise_for_status()
        position = answer.headers["Streams-Position"]
    headers = {"Streams-Position": position}
    async with session.get("/api/wealth/net-worth", headers=headers) as answer:
        answer.raise_for_status()
        await answer.read()

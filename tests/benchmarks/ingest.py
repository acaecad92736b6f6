"""`POST /api/events`: lines of JSON into one gateway process, validated, until the log has them."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from schemas.codec import TENANT
from schemas.envelope import document_of, now
from tests.benchmarks import past
from tests.benchmarks.load import Loaded, Plan, load
from tests.benchmarks.measure import Meter, figure
from tests.benchmarks.options import Options
from tests.benchmarks.report import Report
from tests.benchmarks.served import Served, posted, serve_gateway, token
from tests.benchmarks.stand import Stand, stand

NAME = "ingest"
SUMMARY = "events/s that POST /api/events takes from lines of JSON, per gateway process"

EVENTS = 200_000
PEOPLE = 2_000

#: (lines in a request, requests under way at once)
SHAPES = ((1, 32), (100, 8), (1_000, 4))

#: Of requests with few lines less are sent: they are slower.
EVENTS_OF_SINGLES = 10_000

_HEADERS = {"Content-Type": "application/x-ndjson"}


class Taken(NamedTuple):
    """One round."""

    rate: float
    p50: float
    p99: float
    gateway_seconds_per_100k: float
    client_share: float


def run(options: Options, report: Report) -> None:
    with stand(kafka=options.kafka) as place:
        gateway = serve_gateway(place)
        rows = []
        for lines, connections in SHAPES:
            rounds = []
            for number in range(options.runs):
                print(f"{NAME}: {lines} a request, round {number + 1}", file=sys.stderr, flush=True)
                wanted = EVENTS_OF_SINGLES if lines == 1 else EVENTS
                count = options.scaled(wanted, 10 * lines)
                rounds.append(_round(place, gateway, lines, connections, count, number))
            shape = f"{lines:,} lines a request, {connections} requests at once"
            rows.append((shape, *map(figure, zip(*rounds, strict=True))))
    report.table(
        "Lines of JSON by HTTP, validated, acks=all",
        ("", "events/s", "p50 ms", "p99 ms", "gateway CPU s/100k", "client's CPU, %"),
        rows,
    )


def _round(
    place: Stand, gateway: Served, lines: int, connections: int, count: int, number: int
) -> Taken:
    events = _lines(count, f"{lines}-{number}")
    requests = [
        posted(
            "/api/events",
            {**_HEADERS, "Authorization": f"Bearer {token(place, 'usr_1', 'producer')}"},
            b"\n".join(events[start : start + lines]),
        )
        for start in range(0, count, lines)
    ]
    meter = Meter({"gateway": gateway.pid}).start()
    loaded: Loaded = load(Plan(gateway.port, connections, requests))
    usage = meter.stop()
    loaded.must_be("202")
    return Taken(
        count / loaded.seconds,
        loaded.p50,
        loaded.p99,
        usage.cpu_per_100k(count)["gateway"],
        loaded.client_cpu_seconds / loaded.seconds * 100,
    )


def _lines(count: int, name: str) -> Sequence[bytes]:
    """Postings as lines; ids are new in every round."""
    chance, users, time = random.Random(4), past.people(PEOPLE), now()
    return [
        msgspec.json.encode(
            document_of(past.posting(f"i-{name}-{n}", chance.choice(users), time, chance), TENANT)
        )
        for n in range(count)
    ]

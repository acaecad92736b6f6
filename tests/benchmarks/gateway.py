"""Reads of the gateway beside bare routes that ask the same questions (`bare`)."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import asyncpg

from projections.funnels.given import GIVEN
from projections.funnels.view import last_days
from schemas.envelope import Draft, now
from streams.producer import ProducerSettings, SyncProducer
from streams.topics import log_ends
from tests.benchmarks import past
from tests.benchmarks.funnel_stages import time_stages
from tests.benchmarks.load import Loaded, Plan, load
from tests.benchmarks.measure import Figure, Meter, figure
from tests.benchmarks.options import Options
from tests.benchmarks.report import Report
from tests.benchmarks.served import Served, request, serve_bare, serve_gateway, start_worker, token
from tests.benchmarks.stages import Stage, find_profiler, profiling, read_profile, report_stages
from tests.benchmarks.stand import Stand, stand

NAME = "gateway"
SUMMARY = "requests/s and p99 of net worth, notifications and funnel, beside bare routes"

MONEY_EVENTS = 1_000_000
JOURNEY_EVENTS = 1_000_000
PEOPLE = 2_000

#: Of whom requests are: tokens of so many people, in turn.
ASKERS = 500

#: Requests under way at once.
CONNECTIONS = 16
FUNNEL_CONNECTIONS = 2

SECONDS = 10.0
WARM_SECONDS = 2.0

#: Of a round of a smoke run: some answers must fit into it on a machine that does much else.
SECONDS_MIN = 3.0

#: Funnels asked one after the other, for the time of one.
FUNNELS_ASKED = 30

#: Events handed to the producer in one call.
SENT_AT_ONCE = 2_000

REST_SECONDS_MAX = 3_600.0
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Endpoint:
    """A question: of the gateway and of the bare server."""

    name: str
    path: str
    bare: str
    scopes: tuple[str, ...] = ()
    connections: int = CONNECTIONS


ENDPOINTS = (
    Endpoint("net worth", "/api/wealth/net-worth", "net-worth"),
    Endpoint("notifications", "/api/notifications", "notifications"),
    Endpoint(
        "funnel",
        "/api/analytics/funnel/onboarding?days=30",
        "funnel",
        ("analyst",),
        FUNNEL_CONNECTIONS,
    ),
)


#: Of a request, innermost first.
STAGES = (
    Stage("questions to PostgreSQL", ("(asyncpg/", "acquire (projections/postgres")),
    Stage("the view", ("(projections/",)),
    Stage("token, rate limit", ("(gateway/auth", "(gateway/limits", "admit (gateway")),
    Stage("position, entity tag, JSON", ("(gateway/answers", "(schemas/position")),
    Stage("request id, headers, metrics", ("(gateway/middleware", "(gateway/metrics")),
    Stage("query, time limit", ("(gateway/operations", "(gateway/app", "(gateway/routes")),
    Stage("Starlette", ("(starlette/",)),
    Stage("uvicorn", ("(uvicorn/",)),
    Stage("the tail, which reads the log all the time", ("(gateway/tail", "(aiokafka/")),
)


class Round(NamedTuple):
    """One load: what came, and the processor time that it took, by process."""

    loaded: Loaded
    cpu_seconds: dict[str, float]

    def cpu_ms(self, name: str) -> float:
        """Milliseconds of a process for one answer."""
        return self.cpu_seconds[name] / self.loaded.answers * 1e3


def run(options: Options, report: Report) -> None:
    with stand(kafka=options.kafka) as place:
        users = past.people(options.scaled(PEOPLE, 10))
        _fill(place, options, users)
        ours, bare = serve_gateway(place), serve_bare(place)
        askers = users[:ASKERS]
        _ceiling(bare, options, report)
        for endpoint in ENDPOINTS:
            _compare(place, endpoint, ours, bare, askers, options, report)
        _report_stages(place, ENDPOINTS[0], ours, askers, options, report)
        _time_of_one_funnel(place, ours, bare, options, report)


# The history -------------------------------------------------------------------------------


def _fill(place: Stand, options: Options, users: Sequence[str]) -> None:
    """Put the history through a worker, and wait until all views have it."""
    worker = start_worker(place)
    end = now()
    begun = time.monotonic()
    sent = _send(place, _history(options, users, end))
    _said(f"{sent:,} events sent in {time.monotonic() - begun:.0f} s")
    asyncio.run(_until_at_rest(place))
    _said(f"folded after {time.monotonic() - begun:.0f} s")
    worker.stop()


def _history(options: Options, users: Sequence[str], end: datetime) -> Iterator[Draft]:
    yield from past.beginnings(users, end)
    yield from past.money(users, options.scaled(MONEY_EVENTS, 100), end)
    yield from past.journeys(users, options.scaled(JOURNEY_EVENTS, 100), end)


def _send(place: Stand, drafts: Iterable[Draft]) -> int:
    rest = iter(drafts)
    with SyncProducer(ProducerSettings(place.stack.kafka, delivery_seconds_max=120.0)) as producer:
        while some := list(itertools.islice(rest, SENT_AT_ONCE)):
            producer.post(some)
        return producer.flush()


async def _until_at_rest(place: Stand) -> None:
    deadline = time.monotonic() + REST_SECONDS_MAX
    connection = await asyncpg.connect(place.stack.postgres)
    try:
        while not await _is_at_rest(connection, place):
            if time.monotonic() > deadline:
                raise RuntimeError("the projections do not reach the end of the log")
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await connection.close()


async def _is_at_rest(connection: asyncpg.Connection, place: Stand) -> bool:
    """Whether all checkpoints stand at the ends of the log and nothing waits to be relayed."""
    owed = await connection.fetchval("select exists (select from outbox)")
    rows = await connection.fetch("select topic, partition, next_offset from checkpoints")
    ends = await asyncio.to_thread(log_ends, place.stack.kafka)
    return (
        bool(rows)
        and not owed
        and all(row["next_offset"] >= ends[row["topic"], row["partition"]] for row in rows)
    )


# The questions -----------------------------------------------------------------------------


def _ceiling(bare: Served, options: Options, report: Report) -> None:
    """What the load client and an empty route do: the client must not be what is measured."""
    plan = _plan(bare.port, [request("GET", "/nothing")], CONNECTIONS, options)
    loaded = [load(plan) for _ in range(options.runs)]
    share = figure([each.client_cpu_seconds / each.seconds * 100 for each in loaded])
    report.table(
        "Load client and an empty route under the same uvicorn",
        ("requests/s", "p99 ms", "client's processor time, % of one core"),
        [(figure([each.rate for each in loaded]), figure([each.p99 for each in loaded]), share)],
    )


def _compare(
    place: Stand,
    endpoint: Endpoint,
    ours: Served,
    bare: Served,
    askers: Sequence[str],
    options: Options,
    report: Report,
) -> None:
    """Rounds of the gateway, the bare route, and the bare route with the product's view."""
    contestants = {
        "gateway": (ours, _asked(place, endpoint, askers)),
        "bare, same statements (limit)": (bare, _asked_bare(endpoint.bare, askers)),
        "bare, the product's view": (bare, _asked_bare(f"view/{endpoint.bare}", askers)),
    }
    rounds: dict[str, list[Round]] = {name: [] for name in contestants}
    for number in range(options.runs):
        for name, (server, requests) in contestants.items():
            _said(f"{endpoint.name}: round {number + 1}, {name}")
            # The first round asks everybody once: statements are prepared, pages are read.
            plan = _plan(server.port, requests, endpoint.connections, options)
            rounds[name].append(_round(place, server, plan))
    limit = [each.loaded.rate for each in rounds["bare, same statements (limit)"]]
    rows = []
    for name, made in rounds.items():
        ratios = [each.loaded.rate / best for each, best in zip(made, limit, strict=True)]
        rows.append((name, *_figures(made), figure(ratios)))
    columns = ("", "requests/s", "p50 ms", "p99 ms", "bytes", "server ms", "databases ms", "ratio")
    report.table(f"{endpoint.name}, {endpoint.connections} connections", columns, rows)


def _report_stages(
    place: Stand,
    endpoint: Endpoint,
    ours: Served,
    askers: Sequence[str],
    options: Options,
    report: Report,
) -> None:
    """Where the gateway's processor time for a request goes."""
    if find_profiler() is None:
        report.note("No table per stage: py-spy is not installed.")
        return
    _said(f"{endpoint.name}: profile")
    plan = _plan(ours.port, _asked(place, endpoint, askers), endpoint.connections, options)
    with TemporaryDirectory() as folder:
        raw = Path(folder) / "stacks"
        with profiling(ours.pid, raw):
            made = _round(place, ours, plan)
        profile = read_profile(raw, STAGES)
    micros = made.cpu_ms("server") * 1e3
    report_stages(report, profile, "the gateway's", micros, f"request for {endpoint.name}")


def _figures(rounds: Sequence[Round]) -> tuple[Figure, ...]:
    loads = [each.loaded for each in rounds]
    return (
        figure([each.rate for each in loads]),
        figure([each.p50 for each in loads]),
        figure([each.p99 for each in loads]),
        figure([each.bytes / each.answers for each in loads]),
        figure([each.cpu_ms("server") for each in rounds]),
        figure([each.cpu_ms("postgres") + each.cpu_ms("clickhouse") for each in rounds]),
    )


def _round(place: Stand, server: Served, plan: Plan) -> Round:
    pids = place.pids()
    trees = {"server": server.pid, "postgres": pids["postgres"], "clickhouse": pids["clickhouse"]}
    # Warm first, so that the meter sees what is counted and little else.
    load(Plan(plan.port, plan.connections, plan.requests, plan.warm_seconds))
    meter = Meter(trees).start()
    loaded = load(Plan(plan.port, plan.connections, plan.requests, plan.seconds))
    usage = meter.stop()
    loaded.must_be("200")
    return Round(loaded, usage.cpu_seconds)


def _plan(port: int, requests: list[bytes], connections: int, options: Options) -> Plan:
    seconds = max(SECONDS_MIN, SECONDS * min(1.0, options.scale))
    warm = max(0.5, WARM_SECONDS * min(1.0, options.scale))
    return Plan(port, connections, requests, seconds, warm)


def _asked(place: Stand, endpoint: Endpoint, askers: Sequence[str]) -> list[bytes]:
    return [
        request(
            "GET",
            endpoint.path,
            {"Authorization": f"Bearer {token(place, user, *endpoint.scopes)}"},
        )
        for user in askers
    ]


def _asked_bare(path: str, askers: Sequence[str]) -> list[bytes]:
    return [request("GET", f"/{path}?user={user}") for user in askers]


def _time_of_one_funnel(
    place: Stand, ours: Served, bare: Served, options: Options, report: Report
) -> None:
    """One funnel at a time, as an analyst asks it."""
    endpoint = next(each for each in ENDPOINTS if each.name == "funnel")
    asked = options.scaled(FUNNELS_ASKED, 3)
    rows = []
    for name, port, made in (
        ("gateway", ours.port, _asked(place, endpoint, ["usr_1"])),
        ("bare, same statement", bare.port, _asked_bare("funnel", ["usr_1"])),
    ):
        loads = [load(Plan(port, 1, made * asked)) for _ in range(options.runs)]
        for each in loads:
            each.must_be("200")
        rows.append((name, figure([e.p50 for e in loads]), figure([e.p99 for e in loads])))
    events = options.scaled(JOURNEY_EVENTS, 100)
    report.table(f"One funnel of {events:,} journey events", ("", "p50 ms", "p99 ms"), rows)
    report.table(
        "The same, up to the end of each stage",
        ("", "ms"),
        time_stages(
            place.stack.clickhouse, GIVEN["onboarding"], last_days(30, now().date()), asked
        ),
    )


def _said(line: str) -> None:
    print(f"{NAME}: {line}", file=sys.stderr, flush=True)

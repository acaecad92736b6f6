"""How soon what was produced is seen: by an HTTP read, on the WebSocket, and, beside them, in the
transaction of a bare consumer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import aiohttp
import httpx
import orjson
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect

from compose.local import tokens
from compose.local.ports import choose_ports
from compose.processes import Gateway, Worker
from schemas.position import PositionToken
from tests.benchmarks.folding import Folding, standing
from tests.benchmarks.measure import Meter, figure, quantiles
from tests.benchmarks.options import Options
from tests.benchmarks.pacing import PROBERS, Load, Probe, Probing, openings, prober
from tests.benchmarks.program import Program, mark_of
from tests.benchmarks.report import Report
from tests.benchmarks.stand import Stand, stand
from tests.benchmarks.traffic import Record, mixed, prefill, tell

NAME = "freshness"
SUMMARY = "produce -> visible by HTTP, produce -> on the WebSocket, beside a bare consumer"

#: Events a second; fewer under a scale below 1.
RATES = (1_000, 5_000)
SECONDS = 60.0
WARM_SECONDS = 5.0
#: What the bare consumer gets for the last probes.
ARRIVAL_SECONDS = 3.0
#: Traffic for so much longer, while the last probes arrive.
SPARE_SECONDS = 8.0
PEOPLE = 2_000
OK, NOT_REACHED = 200, 503

#: In the read models before anything is timed.
HISTORY = 30_000

#: Of a worker's metrics.
AGE = "worker_record_age_seconds"

READ, TAIL, BARE = "HTTP read", "WebSocket", "bare consumer"
WAYS = (READ, TAIL, BARE)


@dataclass
class Found:
    """Milliseconds by way, and what speaks against them."""

    times_ms: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    #: Processor seconds a second, by process, while ours was timed.
    cores: dict[str, float] = field(default_factory=dict)
    #: Milliseconds from a record's timestamp until it came to a stage of the worker, on average.
    ages_ms: dict[str, float] = field(default_factory=dict)
    late_ms: float = 0.0
    ran_out: bool = False

    def add(self, probes: list[Probe], ways: tuple[str, ...], load: Load) -> None:
        for way in ways:
            times = [(each.seen[way] - each.sent) * 1e3 for each in probes if way in each.seen]
            self.times_ms[way] = times
            self.missing[way] = len(probes) - len(times)
        self.late_ms = max(self.late_ms, load.late_seconds * 1e3)
        self.ran_out = self.ran_out or load.ran_out


class Age(NamedTuple):
    """How old records were together, and how many they were."""

    seconds: float
    count: float

    @property
    def mean_ms(self) -> float:
        return self.seconds / max(self.count, 1) * 1e3


class Ages:
    """What a worker tells of the age of records, by stage."""

    def __init__(self, url: str) -> None:
        self._url = url

    def now(self) -> dict[str, Age]:
        text = httpx.get(self._url).raise_for_status().text
        found: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(text):
            for name, labels, value, *_ in family.samples if family.name == AGE else ():
                stage = f"{labels['stage']} {labels['projection']}".removesuffix(" *")
                found.setdefault(stage, {})[name.removeprefix(AGE)] = value
        return {stage: Age(each["_sum"], each["_count"]) for stage, each in found.items()}

    def since(self, before: Mapping[str, Age]) -> dict[str, Age]:
        nothing = Age(0.0, 0.0)
        return {
            stage: Age(*(a - b for a, b in zip(age, before.get(stage, nothing), strict=True)))
            for stage, age in self.now().items()
        }


def run(options: Options, report: Report) -> None:
    """Both rates, ours and the bare one after each other, so that neither slows the other."""
    seconds = max(5.0, SECONDS * min(options.scale, 1.0))
    found: dict[int, list[Found]] = {_rate(options, rate): [] for rate in RATES}
    for turn in range(options.runs):
        with stand(kafka=options.kafka) as place:
            _round(place, f"{turn + 1}", seconds, options, found)
    _report(report, options, seconds, found)


def _round(
    place: Stand, turn: str, seconds: float, options: Options, found: dict[int, list[Found]]
) -> None:
    kafka = place.stack.kafka
    each = int((seconds + WARM_SECONDS + SPARE_SECONDS) * sum(found))
    history = options.scaled(HISTORY, least=1_000)
    people = options.scaled(PEOPLE, least=250)
    traffic = mixed(people, history + 2 * each)
    prefill(kafka, [*openings(), *islice(traffic, history)], "history")
    tell("making events")
    records = iter(list(traffic))
    now = {rate: Found() for rate in found}
    _ours(place, turn, seconds, records, now)
    _bare(place, turn, seconds, records, now)
    for rate, each_found in now.items():
        found[rate].append(each_found)


def _rate(options: Options, rate: int) -> int:
    return max(10, round(rate * min(options.scale, 1.0)))


def _ours(
    place: Stand, turn: str, seconds: float, records: Iterator[Record], now: dict[int, Found]
) -> None:
    ports = choose_ports({"gateway": 0, "worker": 0}, {})
    env = {**place.env, "STREAMS_WORKER_PORT": str(ports["worker"])}
    worker = place.start(Worker(place.folder, env))
    gateway = place.start(Gateway(place.folder, place.env, ports["gateway"]))
    ages = Ages(f"http://127.0.0.1:{ports['worker']}/metrics")
    probing = Probing(f"{turn}-ours")
    with standing(place.stack.postgres) as at:
        for rate in now:
            Folding(at, place.stack.kafka).to_rest()
            tell(f"round {turn}: {rate:,} events/s")
            load = Load(place.stack.kafka, records, rate)
            meter = Meter({"worker": worker.pid, "gateway": gateway.pid, **place.pids()}).start()
            before = ages.now()
            probes = asyncio.run(
                _through_gateway(place, gateway.server.url, probing, load, seconds)
            )
            usage = meter.stop()
            now[rate].cores = {n: cpu / usage.seconds for n, cpu in usage.cpu_seconds.items()}
            now[rate].ages_ms = {name: each.mean_ms for name, each in ages.since(before).items()}
            now[rate].add(probes, (READ, TAIL), load)
    gateway.stop()
    worker.stop()


def _bare(
    place: Stand, turn: str, seconds: float, records: Iterator[Record], now: dict[int, Found]
) -> None:
    stack = place.stack
    for rate in now:
        tell(f"round {turn}: {rate:,} events/s, bare consumer")
        seen_file = place.folder / "bare.json"
        bare = place.start(_bare_consumer(place, seen_file))
        load = Load(stack.kafka, records, rate)
        probes = asyncio.run(_past_gateway(Probing(f"{turn}-bare-{rate}"), load, seconds))
        bare.stop()
        seen = json.loads(seen_file.read_text())
        for probe in probes:
            if probe.id in seen:
                probe.seen[BARE] = seen[probe.id]
        now[rate].add(probes, (BARE,), load)


def _bare_consumer(place: Stand, seen_file: Path) -> Program:
    name, stack = "bare", place.stack
    files = (str(mark_of(place.folder, name)), str(seen_file))
    module = ("-m", "tests.benchmarks.bare_commit")
    return Program(place.folder, name, (*module, stack.kafka, stack.postgres, *files))


async def _past_gateway(probing: Probing, load: Load, seconds: float) -> list[Probe]:
    """Probes that nobody follows from here."""
    with load.running():
        await probing.send(load, WARM_SECONDS)
        probes = await probing.send(load, seconds)
        await asyncio.sleep(ARRIVAL_SECONDS)
        return probes


async def _through_gateway(
    place: Stand, url: str, probing: Probing, load: Load, seconds: float
) -> list[Probe]:
    """Probes that are read over HTTP as soon as the log has them, and heard of on the tail."""
    key = tokens.secret(place.folder)
    bearers = {
        prober(number): tokens.mint(key, prober(number), (), tenant="bfc", ttl_seconds=3600)
        for number in range(PROBERS)
    }
    expected: dict[str, Probe] = {}
    async with aiohttp.ClientSession(base_url=url) as client, _listening(url, bearers, expected):

        async def follow(probe: Probe, done: asyncio.Future[object]) -> None:
            expected[probe.id] = probe
            token = PositionToken.after([await done])  # type: ignore[list-item]
            headers = {
                "Authorization": f"Bearer {bearers[probe.user]}",
                "Streams-Position": token.encode(),
            }
            async with client.get("/api/wealth/net-worth", headers=headers) as answer:
                body = await answer.read()
            if answer.status == NOT_REACHED:
                return
            if answer.status != OK:
                raise RuntimeError(f"{answer.status}: {body.decode()}")
            if float(orjson.loads(body)["netWorth"]) < probe.balance:
                raise RuntimeError(f"{probe.id} is not in {body.decode()}")
            probe.see(READ)
            await probe.at(TAIL)

        with load.running():
            await probing.send(load, WARM_SECONDS, follow)
            return await probing.send(load, seconds, follow)


@asynccontextmanager
async def _listening(
    url: str, bearers: dict[str, str], expected: dict[str, Probe]
) -> AsyncIterator[None]:
    """A socket for each of those who probe."""
    tail = url.replace("http", "ws") + "/ws/sync?types=bfc.transaction.*"
    async with AsyncExitStack() as sockets:
        tasks = []
        for bearer in bearers.values():
            headers = {"Authorization": f"Bearer {bearer}"}
            socket = await sockets.enter_async_context(connect(tail, additional_headers=headers))
            tasks.append(asyncio.create_task(_hear(socket, expected)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _hear(socket: ClientConnection, expected: dict[str, Probe]) -> None:
    async for message in socket:
        found = orjson.loads(message)
        if found["kind"] == "event" and (probe := expected.get(found["event"]["id"])):
            probe.see(TAIL)


def _report(
    report: Report, options: Options, seconds: float, found: dict[int, list[Found]]
) -> None:
    rows = []
    for rate, rounds in found.items():
        for way in WAYS:
            marks = [quantiles(each.times_ms[way]) for each in rounds]
            row = [f"{rate:,}/s", way]
            cells = [
                figure([mark[name] for mark in marks if mark]) if any(marks) else None
                for name in ("p50", "p99", "max")
            ]
            rows.append([*row, *cells, float(sum(each.missing[way] for each in rounds))])
    report.table(
        f"Freshness on {options.broker}, {seconds:.0f} s each, ms",
        ["events", "produced ->", "p50", "p99", "max", "not seen"],
        rows,
    )
    names = list(next(iter(found.values()))[0].cores)
    report.table(
        "Cores used meanwhile (of ours)",
        ["events", *names],
        [
            [f"{rate:,}/s", *(figure([each.cores[name] for each in rounds]) for name in names)]
            for rate, rounds in found.items()
        ],
    )
    stages = list(next(iter(found.values()))[0].ages_ms)
    report.table(
        "Mean age of each batch's last record in the worker, by its timestamp, ms",
        ["events", *stages],
        [
            [f"{rate:,}/s", *(figure([each.ages_ms[stage] for each in rounds]) for stage in stages)]
            for rate, rounds in found.items()
        ],
    )
    for rate, rounds in found.items():
        ratios = [
            _p99(each, READ) / _p99(each, BARE)
            for each in rounds
            if each.times_ms[READ] and each.times_ms[BARE]
        ]
        if ratios:
            report.note(f"{rate:,}/s: p99 of HTTP reads / bare consumer: {figure(ratios)}")
            report.data.setdefault(NAME, {})[f"{options.broker} {rate}"] = ratios
    late = max(each.late_ms for rounds in found.values() for each in rounds)
    report.note(f"The load itself was late by {late:.0f} ms at worst.")
    if any(each.ran_out for rounds in found.values() for each in rounds):
        report.note("The load ran out of events before the last probes had arrived.")


def _p99(found: Found, way: str) -> float:
    return quantiles(found.times_ms[way])["p99"]

"""Whether an event costs the same whatever there was before it: by history, people, rules, and by
how many hold the symbol of a price.

Everything that is there before comes through the log and is folded by the worker; no row is made
by hand. Traffic has the same proportions at every point (`steady`), so that costs can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import NamedTuple

from compose.local.service import Child
from tests.benchmarks.folding import Folding, Standing, Work, standing, start_workers
from tests.benchmarks.measure import Figure, Meter, Usage, figure
from tests.benchmarks.options import Options
from tests.benchmarks.report import Cell, Report
from tests.benchmarks.stand import Stand, stand
from tests.benchmarks.steady import Steady
from tests.benchmarks.traffic import Record, prefill, rule_commands, tell

#: Events whose cost is measured at each point, once for each run.
MEASURED = 100_000
MEASURED_TICKS = 20_000

HISTORIES = (1_000_000, 3_000_000, 10_000_000)
HISTORY_PEOPLE = 100_000

PEOPLE = (1_000, 100_000, 1_000_000)
#: Of the points by people and by rules.
HISTORY = 300_000

RULES = (0, 100_000, 1_000_000)
RULES_PEOPLE = 10_000

HOLDERS = (10, 1_000, 100_000)


@dataclass
class Point:
    """What was measured at one point of a curve."""

    size: int
    events: int
    usages: list[Usage] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)
    #: The database on disk, after the last measuring.
    postgres_mib: float = 0.0

    def cost(self, *names: str) -> Figure:
        """CPU seconds per 100,000 events of these processes together."""
        per = [usage.cpu_per_100k(self.events) for usage in self.usages]
        return figure([sum(each[name] for name in names) for each in per])

    @property
    def rate(self) -> Figure:
        """Events a second, prefill, folding and relay together."""
        return figure([self.events / usage.seconds for usage in self.usages])


class System(NamedTuple):
    """A stand, a worker on it and a look at its tables."""

    place: Stand
    worker: Child
    at: Standing

    def add(self, records: Iterable[Record], title: str) -> None:
        """Put records into the log and wait until all is at rest."""
        prefill(self.place.stack.kafka, records, title)
        Folding(self.at, self.place.stack.kafka).to_rest()

    def measure(self, point: Point, runs: int, records: Callable[[int], Iterator[Record]]) -> None:
        """What it costs to fold the point's events, as often as there are runs."""
        for turn in range(runs):
            made = list(records(point.events))
            before = self.at.work()
            meter = Meter({"worker": self.worker.pid, **self.place.pids()}).start()
            try:
                self.add(made, f"{point.size:,}, run {turn + 1}")
            finally:
                point.usages.append(meter.stop())
            point.works.append(self.at.work().since(before, point.events))
        point.postgres_mib = self.at.database_mib()


def _by_history(options: Options, report: Report) -> None:
    steady = Steady(options.scaled(HISTORY_PEOPLE, least=100))
    points = []
    with _system(options) as system:
        system.add(steady.openings(), "accounts")
        done = 0
        for size in HISTORIES:
            point = _point(options, size)
            tell(f"history of {point.size:,} events")
            system.add(steady.records(max(point.size - done, 0)), "history")
            system.measure(point, options.runs, steady.records)
            done = point.size + options.runs * point.events
            points.append(point)
    _report(report, "history, events", points)


def _by_people(options: Options, report: Report) -> None:
    points = []
    for size in PEOPLE:
        point = _point(options, size)
        tell(f"{point.size:,} people")
        steady = Steady(point.size)
        history = steady.records(options.scaled(HISTORY, least=100))
        points.append(_alone(options, point, chain(steady.openings(), history), steady))
    _report(report, "people", points)


def _by_rules(options: Options, report: Report) -> None:
    points = []
    for size in RULES:
        point = _point(options, size, least=0)
        tell(f"{point.size:,} rules")
        steady = Steady(options.scaled(RULES_PEOPLE, least=100))
        history = steady.records(options.scaled(HISTORY, least=100))
        before = chain(rule_commands(point.size), steady.openings(), history)
        points.append(_alone(options, point, before, steady))
    _report(report, "rules of others", points)


def _by_holders(options: Options, report: Report) -> None:
    steady = Steady(options.scaled(max(HOLDERS), least=100))
    points = []
    with _system(options) as system:
        for size in HOLDERS:
            point = Point(options.scaled(size), options.scaled(MEASURED_TICKS, least=100))
            symbol = f"HELD{point.size}"
            tell(f"{point.size:,} holders")
            system.add(steady.holdings(symbol, point.size), "trades")
            system.measure(point, options.runs, partial(steady.ticks, symbol))
            points.append(point)
    _report(report, "holders of the symbol that ticks", points)


def _alone(options: Options, point: Point, before: Iterable[Record], steady: Steady) -> Point:
    with _system(options) as system:
        system.add(before, "before")
        system.measure(point, options.runs, steady.records)
    return point


def _point(options: Options, size: int, least: int = 1) -> Point:
    return Point(options.scaled(size, least), options.scaled(MEASURED, least=100))


@contextmanager
def _system(options: Options) -> Iterator[System]:
    with stand(kafka=options.kafka) as place, standing(place.stack.postgres) as at:
        yield System(place, start_workers(place)[0], at)


def _report(report: Report, of: str, points: list[Point]) -> None:
    first = points[0].cost("worker", "postgres").median
    rows: list[list[Cell]] = []
    for point in points:
        cost = point.cost("worker", "postgres")
        rows.append(
            [
                f"{point.size:,}",
                cost,
                cost.median / first,
                point.cost("worker"),
                point.cost("postgres"),
                point.cost("clickhouse"),
                point.rate,
                max(usage.peak_mib["worker"] for usage in point.usages),
                max(usage.peak_mib["postgres"] for usage in point.usages),
                point.postgres_mib,
            ]
        )
    report.table(
        f"Cost by {of}: CPU seconds per {MEASURED:,} events, peak MiB",
        [of, "worker + postgres", "ratio", "worker", "postgres", "clickhouse", "events/s",
         "MiB worker", "MiB postgres", "MiB on disk"],
        rows,
    )  # fmt: skip
    report.table(
        "What PostgreSQL did for one of these events",
        [of, "rows inserted", "rows updated", "pages read", "bytes of WAL"],
        [[f"{point.size:,}", *map(figure, zip(*point.works, strict=True))] for point in points],
    )
    ratios = {f"{point.size}": row[2] for point, row in zip(points, rows, strict=True)}
    report.data.setdefault("growth", {})[of] = ratios


@dataclass
class Curve:
    """A benchmark: one curve."""

    NAME: str
    SUMMARY: str
    run: Callable[[Options, Report], None]


#: Each by itself, since at their full sizes some of them take the better part of an hour.
CURVES = (
    Curve("growth-holders", "cost of a price tick by holders of its symbol", _by_holders),
    Curve("growth-people", "cost per event by people", _by_people),
    Curve("growth-rules", "cost per event by rules of others", _by_rules),
    Curve("growth-history", "cost per event by history", _by_history),
)

"""All projections in PostgreSQL and ClickHouse from mixed traffic, by real worker processes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.beside import note_ratio, peer_rates
from tests.benchmarks.folding import Folded, ProfiledWorker, fold, standing, start_workers
from tests.benchmarks.measure import figure
from tests.benchmarks.options import Options
from tests.benchmarks.peer.programs import LIMIT
from tests.benchmarks.report import Cell, Report
from tests.benchmarks.stages import find_profiler, profiling, read_profile, report_stages
from tests.benchmarks.stand import SERVERS, stand
from tests.benchmarks.traffic import mixed, prefill, tell

NAME = "main-job"
SUMMARY = "all projections from mixed traffic, one and two workers, and where the time goes"

EVENTS = 300_000
PEOPLE = 2_000
PROFILED_EVENTS = 100_000
WORKERS = (1, 2)

#: Functions of the profile that are shown.
FUNCTIONS_SHOWN = 40


def run(options: Options, report: Report) -> None:
    """Rates and costs, then the profile of one worker."""
    events = options.scaled(EVENTS, least=1_000)
    people = options.scaled(PEOPLE, least=50)
    found: dict[int, list[Folded]] = {count: [] for count in WORKERS}
    for turn in range(options.runs):
        for count in WORKERS:
            tell(f"round {turn + 1}, {count} worker(s)")
            found[count].append(_round(options, count, people, events))
    _report_rates(report, found, events, people)
    one = [each.rate for each in found[1]]
    limit = peer_rates(options, report, LIMIT)
    note_ratio(report, "main job / limit of the peer job", one, limit)
    _report_profile(report, options, people)


def _round(options: Options, workers: int, people: int, events: int) -> Folded:
    with stand(kafka=options.kafka) as place, standing(place.stack.postgres) as at:
        prefill(place.stack.kafka, mixed(people, events), "prefill")
        return fold(place, at, start_workers(place, workers), events)


def _report_rates(report: Report, found: dict[int, list[Folded]], events: int, people: int) -> None:
    columns = ["workers", "events/s", "events/s to rest"]
    names = ["worker", *SERVERS]
    columns += [f"CPU s {name}" for name in names] + [f"MiB {name}" for name in names]
    rows: list[list[Cell]] = []
    for count, rounds in found.items():
        costs = [_costs(each, count) for each in rounds]
        row: list[Cell] = [float(count), figure([each.rate for each in rounds])]
        row += [figure([each.rest_rate for each in rounds])]
        row += [figure([cpu[name] for cpu, _ in costs]) for name in names]
        row += [figure([mib[name] for _, mib in costs]) for name in names]
        rows.append(row)
    report.table(
        f"Main job: {events:,} events of some {people:,} people (CPU per 100,000 events)",
        columns,
        rows,
    )
    derived = figure([each.derived for each in found[WORKERS[0]]])
    report.note(f"Derived from them and published by the relay, in CPU and `to rest`: {derived}.")
    report.data[NAME] = {
        str(count): {"events_per_second": [each.rate for each in rounds]}
        for count, rounds in found.items()
    }


def _costs(folded: Folded, workers: int) -> tuple[dict[str, float], dict[str, float]]:
    """CPU seconds per 100,000 events, and peak MiB, all workers in one."""
    mine = [f"worker {number}" for number in range(1, workers + 1)]
    cpu, mib = folded.usage.cpu_seconds, folded.usage.peak_mib
    per = 1e5 / folded.events
    return (
        {"worker": sum(cpu[name] for name in mine) * per, **{n: cpu[n] * per for n in SERVERS}},
        {"worker": sum(mib[name] for name in mine), **{name: mib[name] for name in SERVERS}},
    )


def _report_profile(report: Report, options: Options, people: int) -> None:
    if find_profiler() is None:
        report.note("No table per stage: py-spy is not installed.")
        return
    events = options.scaled(PROFILED_EVENTS, least=1_000)
    tell("profile")
    with TemporaryDirectory() as folder:
        raw = Path(folder) / "stacks"
        folded = _profiled(options, people, events, raw)
        profile = read_profile(raw)
    micros = folded.usage.cpu_seconds["worker 1"] / folded.events * 1e6
    report_stages(report, profile, "a worker's", micros, "event")
    each = micros / profile.samples
    report.table(
        "Functions by own time",
        ["function", "own µs per event", "total µs per event"],
        [
            [name, count * each, profile.total[name] * each]
            for name, count in profile.own.most_common(FUNCTIONS_SHOWN)
        ],
    )


def _profiled(options: Options, people: int, events: int, raw: Path) -> Folded:
    with stand(kafka=options.kafka) as place, standing(place.stack.postgres) as at:
        prefill(place.stack.kafka, mixed(people, events), "prefill")
        workers = start_workers(place, kind=ProfiledWorker)
        with profiling(workers[0].pid, raw):
            return fold(place, at, workers, events)

"""`streams rebuild net_worth` over a log, beside folding the same log live."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from compose.processes import Worker
from projections.net_worth.projection import NetWorth
from streams.topics import log_ends
from tests.benchmarks.beside import note_ratio, peer_rates
from tests.benchmarks.folding import Folding, Standing, standing
from tests.benchmarks.measure import Meter, Usage, figure
from tests.benchmarks.options import Options
from tests.benchmarks.peer.programs import OURS
from tests.benchmarks.program import Program
from tests.benchmarks.report import Cell, Report
from tests.benchmarks.stages import Stage, find_profiler, profiling, read_profile, report_stages
from tests.benchmarks.stand import Stand, stand
from tests.benchmarks.traffic import Record, mixed, prefill, tell

NAME = "rebuild"
SUMMARY = "streams rebuild net_worth over a log, beside folding it live"

EVENTS = 1_000_000
PEOPLE = 2_000

#: Of all mixed traffic, at least this share is read by net worth.
SHARE_MIN = 0.4

#: Of a rebuild, innermost first.
STAGES = (
    Stage("imports at the start", ("importlib",)),
    Stage("fetch", ("(streams/fetching", "(aiokafka/")),
    Stage("decode", ("decode_batch (schemas", "(schemas/fast", "(schemas/careful")),
    Stage("judge", ("_judge (projections/intake", "judge (projections/postgres")),
    Stage("load", ("_load (projections/projector", "load (projections/postgres")),
    Stage("write", ("_commit (projections/projector", "commit (projections/postgres")),
    Stage("fold: lots and costs", ("(projections/net_worth/cost", "(projections/net_worth/exact")),
    Stage("fold: the rest", ("(projections/net_worth", "_fold_event (projections/proj")),
    Stage("projector, batches", ("(projections/projector", "(projections/intake")),
)

#: Seconds between two looks whether it has ended.
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Pass:
    """One pass over the log, live or as a rebuild."""

    events: int
    usage: Usage

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.usage.seconds


def run(options: Options, report: Report) -> None:
    """Fold a log live, then rebuild from it, in each round on a log of its own."""
    events = options.scaled(EVENTS, least=1_000)
    live: list[Pass] = []
    anew: list[Pass] = []
    for turn in range(options.runs):
        tell(f"round {turn + 1}")
        with stand(kafka=options.kafka) as place, standing(place.stack.postgres) as at:
            prefill(place.stack.kafka, _records(options, events), "prefill")
            live.append(_live(place, at, events))
            anew.append(_rebuilt(place, events))
            if turn == options.runs - 1:
                _report_profile(report, place, events)
    _report(report, events, live, anew)
    peers = peer_rates(options, report, OURS)
    note_ratio(report, "rebuild / our own peer job", [each.rate for each in anew], peers)


def _records(options: Options, events: int) -> Iterator[Record]:
    people = options.scaled(PEOPLE, least=50)
    traffic = mixed(people, int(events / SHARE_MIN))
    return islice((each for each in traffic if each.topic in NetWorth.topics), events)


def _live(place: Stand, at: Standing, events: int) -> Pass:
    """A worker with net worth alone, measured from its start."""
    server = Worker(place.folder, place.env, arguments=("--only", NetWorth.name, "--no-relay"))
    worker = place.launch(server)
    meter = Meter({"process": worker.pid, **place.pids()}).start()
    worker.wait_ready()
    kafka = place.stack.kafka
    Folding(at, kafka).to_ends(log_ends(kafka), NetWorth.name)
    usage = meter.stop()
    worker.stop()
    return Pass(events, usage)


def _rebuilt(place: Stand, events: int, raw: Path | None = None) -> Pass:
    """The command as an operator types it, measured from its start to its end.

    A profile is written to ``raw``, if given. Raises RuntimeError with what it said if it fails.
    """
    arguments = ("-P", "-m", "compose.cli", "rebuild", NetWorth.name, "--json")
    command = place.launch(Program(place.folder, "rebuild", arguments, place.env))
    meter = Meter({"process": command.pid, **place.pids()}).start()
    with nullcontext() if raw is None else profiling(command.pid, raw):
        while not command.has_ended():
            time.sleep(LOOK_SECONDS)
    usage = meter.stop()
    if command.exit_code:
        raise RuntimeError(f"streams rebuild {command.ending()}: {command.written()[-2000:]}")
    return Pass(events, usage)


def _report_profile(report: Report, place: Stand, events: int) -> None:
    if find_profiler() is None:
        report.note("No table per stage: py-spy is not installed.")
        return
    with TemporaryDirectory() as folder:
        raw = Path(folder) / "stacks"
        usage = _rebuilt(place, events, raw).usage
        profile = read_profile(raw, STAGES)
    micros = usage.cpu_seconds["process"] / events * 1e6
    report_stages(report, profile, "a rebuild's", micros, "event")


def _report(report: Report, events: int, live: list[Pass], anew: list[Pass]) -> None:
    rows: list[list[Cell]] = []
    for name, passes in (("worker, net worth alone", live), ("streams rebuild", anew)):
        cpu = [each.usage.cpu_per_100k(events) for each in passes]
        rows.append(
            [
                name,
                figure([each.rate for each in passes]),
                figure([each["process"] for each in cpu]),
                figure([each["postgres"] for each in cpu]),
                max(each.usage.peak_mib["process"] for each in passes),
                max(each.usage.peak_mib["postgres"] for each in passes),
            ]
        )
    report.table(
        f"Net worth over {events:,} events of its topics (CPU seconds per 100,000, peak MiB)",
        ["by", "events/s", "CPU s process", "CPU s postgres", "MiB process", "MiB postgres"],
        rows,
    )
    ratio = figure([new.rate / old.rate for new, old in zip(anew, live, strict=True)])
    report.note(f"rebuild / live: {ratio}")
    report.data[NAME] = {
        "rebuild_per_second": [each.rate for each in anew],
        "live_per_second": [each.rate for each in live],
    }

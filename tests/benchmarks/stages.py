"""Where a process's time on the processor goes: a sampling profiler's stacks, by stage.

The profiler is py-spy (of `requirements.in`): it looks at the process from outside, a few hundred
times a second, and counts the threads that run. A stack belongs to the first stage of the table
below that one of its frames names, the innermost frame asked first.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.peer.programs import PYTHON
from tests.benchmarks.report import Report

SAMPLES_A_SECOND = 250
WRITE_SECONDS_MAX = 60.0


class Stage(NamedTuple):
    """A stage, and what its frames have in their `function (file)`; any of them will do."""

    name: str
    frames: tuple[str, ...]


#: The lane's own frame says which projection; these say what is done for it.
STEPS = (
    Stage("load", ("_load (projections/projector", "load (projections/postgres")),
    Stage("write", ("_commit (projections/projector", "commit (projections/postgres")),
    Stage(
        "fold",
        (
            "_fold_event (projections/proj",
            "_fold_columns (projections/proj",
            "wants (",
            "foresee (",
        ),
    ),
)

STAGES = (
    Stage("imports at the start", ("importlib",)),
    Stage("asking the kernel what is ready", ("select (selectors",)),
    Stage("decode", ("decode_batch (schemas", "(schemas/fast", "(schemas/careful")),
    Stage("judge", ("_judge (projections/intake", "judge (projections/postgres")),
    Stage("make batches", ("(projections/intake",)),
    Stage("analytics: rows", ("(projections/analytics/gather", "(projections/analytics/fold")),
    Stage("analytics: append", ("(projections/analytics", "(projections/clickhouse")),
    Stage("relay", ("(streams/relay", "(projections/postgres/outbox")),
    Stage("progress notices", ("(projections/postgres/progress",)),
    Stage("watchdog, identity", ("(streams/watchdog", "(streams/identity", "(streams/ends")),
    Stage("fetch", ("(streams/transport", "(streams/fetching", "(aiokafka/", "(streams/backlog")),
    Stage("crew and lanes", ("(streams/crew", "(projections/lane", "(projections/projector")),
    Stage("metrics", ("(streams/metrics",)),
    Stage("Faust", ("(faust/", "(mode/", "(streams/app")),
    Stage("answers of PostgreSQL", ("(asyncpg/", "_read_ready", "_write_ready", "data_received")),
)
OTHER = "event loop, rest"

#: Innermost frames of threads that wait in C, which the profiler takes for running.
WAITING = ("_worker (concurrent/futures/thread", "_poll (streams/producer/client")

#: What `profiled_worker` lets the frames of lanes begin with.
LANE_FRAME = "lane_of_"


@dataclass
class Profile:
    """What the samples say; counts of samples."""

    stages: Counter[str] = field(default_factory=Counter)
    #: By innermost frame, and by each frame of a stack once.
    own: Counter[str] = field(default_factory=Counter)
    total: Counter[str] = field(default_factory=Counter)
    threads: Counter[str] = field(default_factory=Counter)

    @property
    def samples(self) -> int:
        """All of them."""
        return self.stages.total()


def find_profiler() -> str | None:
    """The program, beside the contestants' Python or on PATH; None if it is not installed."""
    return shutil.which("py-spy", path=str(PYTHON.parent)) or shutil.which("py-spy")


@contextmanager
def profiling(pid: int, out: Path) -> Iterator[None]:
    """Samples of a process into a file, for the length of the block.

    Raises RuntimeError when the profiler is not installed or may not look at the process.
    """
    program = find_profiler()
    if program is None:
        raise RuntimeError("py-spy is not installed; it is in tests/benchmarks/requirements.in")
    argv = [program, "record", "--pid", str(pid), "--output", str(out), "--format", "raw"]
    argv += ["--rate", str(SAMPLES_A_SECOND), "--threads", "--function", "--nonblocking"]
    process = subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=WRITE_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
    if not out.exists():
        raise RuntimeError(f"py-spy wrote nothing: {said.decode(errors='replace')}")


def read_profile(raw: Path, stages: Sequence[Stage] = STAGES) -> Profile:
    """The stacks of a file as py-spy writes them: frames from outside in, then a count."""
    profile = Profile()
    for line in raw.read_text(errors="replace").splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if not frames or frames[-1].startswith(WAITING):
            continue
        number = int(count)
        profile.stages[stage_of(frames, stages)] += number
        profile.own[frames[-1]] += number
        profile.threads[thread] += number
        for frame in set(frames):
            profile.total[frame] += number
    return profile


def report_stages(report: Report, profile: Profile, whose: str, micros: float, per: str) -> None:
    """A table of where the `micros` of processor time go that one event or the like takes."""
    shares = [(name, count / profile.samples) for name, count in profile.stages.most_common()]
    report.table(
        f"Where {whose} {micros:.1f} µs of CPU per {per} go ({profile.samples:,} samples)",
        ["stage", f"µs per {per}", "%"],
        [(name, share * micros, share * 100) for name, share in shares],
    )


def stage_of(frames: Sequence[str], stages: Sequence[Stage] = STAGES) -> str:
    """The stage of a stack, whose frames come from outside in."""
    lane = next((frame for frame in frames if frame.startswith(LANE_FRAME)), None)
    if lane is not None:
        name = lane.partition(" ")[0].removeprefix(LANE_FRAME)
        return f"{name}: {_first(frames, STEPS) or 'batches'}"
    return _first(frames, stages) or OTHER


def _first(frames: Sequence[str], stages: Sequence[Stage]) -> str | None:
    for frame in reversed(frames):
        for stage in stages:
            if any(part in frame for part in stage.frames):
                return stage.name
    return None

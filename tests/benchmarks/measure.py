"""What a run costs: processor time and memory of trees of processes; figures of several runs."""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import psutil

#: Seconds between two looks at memory. A look reads some hundred small files of /proc.
LOOK_SECONDS = 0.5

_MIB = 1024 * 1024


class Figure(NamedTuple):
    """The median of several runs and what they lie between."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return shown(self.median)
        return f"{shown(self.median)} ({shown(self.low)}–{shown(self.high)})"


def figure(values: Sequence[float]) -> Figure:
    """The figure of what several runs gave; there must be one at least."""
    return Figure(statistics.median(values), min(values), max(values))


def shown(value: float) -> str:
    """A number with as many digits as mean something: three or more."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.3g}"


def quantiles(values_ms: Iterable[float]) -> dict[str, float]:
    """p50, p99 and max of what was measured, in its unit; empty if nothing was."""
    order = sorted(values_ms)
    if not order:
        return {}
    at = {"p50": 0.5, "p99": 0.99}
    found = {name: order[min(len(order) - 1, int(len(order) * q))] for name, q in at.items()}
    return {**found, "max": order[-1]}


@dataclass(frozen=True)
class Usage:
    """What trees of processes used between `Meter.start` and `Meter.stop`, by their names."""

    #: User and system time, ended children included.
    cpu_seconds: dict[str, float]
    #: The most that was seen at once; what processes share counts once (PSS).
    peak_mib: dict[str, float]
    #: Wall time.
    seconds: float

    def cpu_per_100k(self, events: int) -> dict[str, float]:
        """CPU seconds per 100,000 events."""
        return {name: used / events * 1e5 for name, used in self.cpu_seconds.items()}


@dataclass
class Meter:
    """Measures trees of processes: name -> pid of its root.

    Processor time is read at both ends, and memory in between by a thread. A tree whose root has
    ended before `stop` counts as far as it was last seen.
    """

    trees: Mapping[str, int]
    _begun: dict[str, float] = field(default_factory=dict)
    _cpu: dict[str, float] = field(default_factory=dict)
    _peak: dict[str, float] = field(default_factory=dict)
    _start: float = 0.0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> Self:
        self._stopping.clear()
        self._look()
        self._begun = dict(self._cpu)
        self._start = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name="meter", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> Usage:
        seconds = time.monotonic() - self._start
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._look()
        used = {name: self._cpu[name] - self._begun[name] for name in self.trees}
        return Usage(used, dict(self._peak), seconds)

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        children = _children()
        for name, root in self.trees.items():
            tree = _tree(root, children)
            cpu = sum(_cpu_seconds(each) for each in tree)
            # A child that has ended and is not yet reaped is missing for a moment.
            self._cpu[name] = max(cpu, self._cpu.get(name, 0.0))
            mib = sum(_pss(each) for each in tree) / _MIB
            self._peak[name] = max(mib, self._peak.get(name, 0.0))


def _children() -> dict[int, list[psutil.Process]]:
    """All processes by their parents."""
    found: dict[int, list[psutil.Process]] = defaultdict(list)
    for process in psutil.process_iter():
        try:
            found[process.ppid()].append(process)
        except psutil.Error:
            continue
    return found


def _tree(root: int, children: Mapping[int, list[psutil.Process]]) -> list[psutil.Process]:
    try:
        tree = [psutil.Process(root)]
    except psutil.Error:
        return []
    for process in tree:
        tree += children.get(process.pid, ())
    return tree


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0

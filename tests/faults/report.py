"""What a run has to say: the table at its end and the line of the verdict."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.schedule import Fault
from tests.faults.settings import Settings

#: Differences that are printed; more of them say no more.
SHOWN_MAX = 50


@dataclass(frozen=True)
class Recovery:
    """A fault and what came of it."""

    fault: Fault
    #: Seconds from its end until all that the log held then was folded, published and readable.
    seconds: float


@dataclass
class Report:
    """Filled while the run goes on."""

    settings: Settings
    faults: list[Fault] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    #: How often a process ended by itself, by name and exit code.
    exits: Counter[tuple[str, int]] = field(default_factory=Counter)
    observations: dict[str, int] = field(default_factory=dict)
    events: int = 0
    #: Seconds from the end of the load until rest.
    rest_seconds: float = 0.0
    #: What broke, if something did.
    broken: str | None = None
    differences: list[str] | None = None

    @property
    def passed(self) -> bool:
        """Whether every promise was seen to hold."""
        return self.broken is None and self.differences == []

    def lines(self) -> list[str]:
        """All of it, the verdict last."""
        shown = [*self._fault_lines(), *self._process_lines(), *self._reader_lines()]
        if self.broken is not None:
            shown += ["", "broken:", *(f"  {line}" for line in self.broken.splitlines())]
        for line in (self.differences or [])[:SHOWN_MAX]:
            shown.append(f"  difference: {line}")
        return [*shown, self.verdict()]

    def verdict(self) -> str:
        """One line."""
        settings = self.settings
        words = [
            f"{settings.minutes:.1f} min",
            f"{len(self.faults)} faults",
            f"{self.events} events",
            "not compared" if self.differences is None else f"{len(self.differences)} differences",
        ]
        if self.broken is not None:
            words.append(self.broken.splitlines()[0].rstrip(":"))
        how = "PASS" if self.passed else "FAIL"
        return f"faults: {how} seed={settings.seed} broker={settings.broker} {', '.join(words)}"

    def _fault_lines(self) -> list[str]:
        took: dict[tuple[str, str], list[float]] = defaultdict(list)
        for each in self.recoveries:
            took[each.fault.kind, each.fault.target].append(each.seconds)
        counts = Counter((fault.kind.value, fault.target) for fault in self.faults)
        lines = ["", f"{'fault':<24}{'times':>6}{'recovered':>11}{'p50 s':>8}{'max s':>8}"]
        for (kind, target), count in sorted(counts.items()):
            lines.append(_row(f"{kind} {target}", count, took[kind, target]))
        everything = [each.seconds for each in self.recoveries]
        return [*lines, _row("all", len(self.faults), everything)]

    def _process_lines(self) -> list[str]:
        ends = [f"{name} with {code} {n}×" for (name, code), n in sorted(self.exits.items())]
        return ["", f"ended by themselves: {', '.join(ends) or 'none'}"]

    def _reader_lines(self) -> list[str]:
        seen = [f"{name} {count}" for name, count in self.observations.items()]
        return [
            f"observations: {', '.join(seen) or 'none'}",
            f"events sent: {self.events}; at rest {self.rest_seconds:.1f} s after the last",
        ]


def _row(name: str, count: int, took: Sequence[float]) -> str:
    if not took:
        return f"{name:<24}{count:>6}{0:>11}{'-':>8}{'-':>8}"
    middle = statistics.median(took)
    return f"{name:<24}{count:>6}{len(took):>11}{middle:>8.1f}{max(took):>8.1f}"

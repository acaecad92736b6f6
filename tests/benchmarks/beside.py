"""Rates of the peer job in the same run, which goals of other benchmarks are ratios to."""

from __future__ import annotations

from statistics import median

from tests.benchmarks.options import Options
from tests.benchmarks.peer.programs import PYTHON
from tests.benchmarks.peer.run import compete
from tests.benchmarks.report import Report


def peer_rates(options: Options, report: Report, name: str) -> list[float]:
    """Events a second of a contestant, by round; it runs now unless it has run already.

    Empty, with a note, if the contestants' packages are not installed or it failed.
    """
    before = report.data.get("peer", {})
    if name not in before and PYTHON.exists():
        compete(options, report, (name,))
        report.data["peer"] = {**before, **report.data.get("peer", {})}
    rounds = report.data.get("peer", {}).get(name, [])
    if not rounds:
        report.note(f"No ratio to the peer job's `{name}`: it has not run.")
    return [each["events"] / each["seconds"] for each in rounds]


def note_ratio(report: Report, what: str, rates: list[float], peers: list[float]) -> None:
    """The ratio of the medians of both, as a line and in the JSON; nothing without peers."""
    if peers:
        ratio = median(rates) / median(peers)
        report.note(f"{what}: {ratio:.2f}")
        report.data.setdefault("ratios", {})[what] = ratio

"""What every benchmark is told."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

#: The exit code after Ctrl-C.
INTERRUPTED = 130


@dataclass(frozen=True)
class Options:
    """How often, on which broker, and how large."""

    #: Rounds; a figure is the median of them.
    runs: int = 3
    #: Apache Kafka in place of the broker in memory.
    kafka: bool = False
    #: A factor on all sizes, for smoke runs; figures count at 1 alone.
    scale: float = 1.0

    @property
    def broker(self) -> str:
        return "kafka" if self.kafka else "tansu"

    def facts(self) -> dict[str, str | float]:
        """For the JSON."""
        return {"runs": self.runs, "broker": self.broker, "scale": self.scale}

    def scaled(self, size: float, least: int = 1) -> int:
        """A size under this scale, not below ``least``."""
        return max(least, round(size * self.scale))


def parser(description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--runs", type=int, default=3, help="rounds; figures are medians of them")
    made.add_argument("--broker", choices=("tansu", "kafka"), default="tansu")
    made.add_argument("--scale", type=float, default=1.0, help="a factor on sizes, for smoke runs")
    made.add_argument("--json", type=Path, default=None, help="everything as JSON into this file")
    return made


def options_of(given: argparse.Namespace) -> Options:
    """What was said on the command line."""
    return Options(runs=given.runs, kafka=given.broker == "kafka", scale=given.scale)

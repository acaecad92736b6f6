"""Every benchmark, once."""

from __future__ import annotations

from typing import Protocol

from tests.benchmarks import (
    freshness,
    gateway,
    growth,
    ingest,
    main_job,
    producing,
    rebuild,
    tail,
)
from tests.benchmarks.options import Options
from tests.benchmarks.peer import run as peer
from tests.benchmarks.report import Report


class Benchmark(Protocol):
    """A module, or a curve of one, that measures one thing."""

    NAME: str
    #: One line: what it measures.
    SUMMARY: str

    def run(self, options: Options, report: Report) -> None:
        """Measure, and put tables into the report."""


BENCHMARKS: tuple[Benchmark, ...] = (
    peer,
    gateway,
    tail,
    producing,
    ingest,
    main_job,
    freshness,
    rebuild,
    *growth.CURVES,
)

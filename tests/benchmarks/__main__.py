"""`make bench`: benchmarks by name, or all of them."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.catalog import BENCHMARKS, Benchmark
from tests.benchmarks.options import INTERRUPTED, Options, options_of, parser
from tests.benchmarks.report import Report


def main(arguments: Sequence[str]) -> int:
    """Run; the exit code is 0, or 130 when interrupted."""
    options, chosen, json_file = _read(arguments)
    # SIGTERM ends it like Ctrl-C: through the blocks that end what they started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report()
    report.data["options"] = {
        "runs": options.runs,
        "broker": options.broker,
        "scale": options.scale,
    }
    try:
        for benchmark in chosen:
            print(f"{benchmark.NAME}: {benchmark.SUMMARY}", file=sys.stderr, flush=True)
            benchmark.run(options, report)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if json_file is not None:
            report.write(json_file)
    return 0


def _read(arguments: Sequence[str]) -> tuple[Options, list[Benchmark], Path | None]:
    by_name = {each.NAME: each for each in BENCHMARKS}
    known = "\n".join(f"  {each.NAME:14} {each.SUMMARY}" for each in BENCHMARKS)
    made = parser(f"Benchmarks:\n{known}")
    made.prog = "python -m tests.benchmarks"
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("names", nargs="*", metavar="NAME", help="all of them, unless some are named")
    given = made.parse_args(arguments)
    unknown = sorted(set(given.names) - set(by_name))
    if unknown:
        made.error(f"{', '.join(unknown)}: known are {', '.join(by_name)}")
    return options_of(given), [by_name[name] for name in given.names or by_name], given.json


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

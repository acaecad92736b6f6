"""A collapse of our speed, found on any machine: ours beside the limit in the same run, small.

`python -m tests.benchmarks.guard` fails only if the ratio is below a third of the recorded one;
`--record` writes the present one into `recorded.json`. Nothing is held against absolute time.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.options import INTERRUPTED, Options
from tests.benchmarks.peer import events
from tests.benchmarks.peer.programs import LIMIT, OURS, PYTHON
from tests.benchmarks.peer.run import compete, to_limit
from tests.benchmarks.report import Report

RECORDED = Path(__file__).with_name("recorded.json")

#: The part of the peer job's log: enough for some batches of the limit, a second for ours.
SCALE = 1 / 3
RUNS = 3

#: The recorded ratio is divided by it. What machines and their moods do to a ratio is far less.
COLLAPSE = 3.0


def main(arguments: Sequence[str]) -> int:
    """The exit code is 1 if the speed collapsed or tables are not exact, and 0 otherwise."""
    made = argparse.ArgumentParser(prog="python -m tests.benchmarks.guard", description=__doc__)
    made.add_argument("--record", action="store_true", help="write the ratio as it is now")
    made.add_argument("--runs", type=int, default=RUNS)
    made.add_argument("--scale", type=float, default=SCALE, help=f"of {events.EVENTS:,} events")
    given = made.parse_args(arguments)
    if not PYTHON.exists():
        made.error(f"{PYTHON} is missing: `make bench-guard` makes it")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = Options(runs=given.runs, scale=given.scale)
    try:
        heats = compete(options, Report(), [LIMIT, OURS])
    except KeyboardInterrupt:
        return INTERRUPTED
    ratio = to_limit(heats.done)
    if heats.failures or ratio is None:
        return 1
    return _record(options, ratio) if given.record else _judge(options, ratio)


def _record(options: Options, ratio: float) -> int:
    facts = {
        "ratio": round(ratio, 3),
        "events": options.scaled(events.EVENTS),
        "runs": options.runs,
        "date": datetime.now(UTC).date().isoformat(),
    }
    RECORDED.write_text(json.dumps({"peer": facts}, indent=2) + "\n")
    print(f"recorded: {ratio:.3f}")
    return 0


def _judge(options: Options, ratio: float) -> int:
    if not RECORDED.exists():
        print("nothing is recorded: python -m tests.benchmarks.guard --record", file=sys.stderr)
        return 1
    recorded: dict[str, Any] = json.loads(RECORDED.read_text())["peer"]
    if recorded["events"] != options.scaled(events.EVENTS):
        print(f"recorded with {recorded['events']:,} events: another size", file=sys.stderr)
    least = recorded["ratio"] / COLLAPSE
    good = ratio >= least
    word = "holds" if good else "COLLAPSED"
    print(f"guard: {word}: {ratio:.3f}; recorded {recorded['ratio']:.3f}, at least {least:.3f}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

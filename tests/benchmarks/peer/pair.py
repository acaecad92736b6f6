"""Two of our workers, the second joining while the first is in the middle of the log."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import pairwise

from compose.local.service import Child
from tests.benchmarks.measure import Meter, Usage
from tests.benchmarks.peer.heat import (
    STEP_SECONDS_MAX,
    Failed,
    Watch,
    first_events,
    last_words,
    running,
    servers,
    tables,
)
from tests.benchmarks.peer.programs import CONTESTANTS, OURS
from tests.benchmarks.peer.verify import Verifier
from tests.benchmarks.stand import Stand

#: Long enough for the second to start, join and be measured.
EVENTS = 1_500_000
#: The part of the log after which the second is started, and up to which both are measured: at
#: the very end a worker may be through with its partitions before the other.
JOIN_AT = 0.1
MEASURED_TO = 0.95
LOOK_SECONDS = 0.01

#: Seconds after the second's first events, until both are in step.
SETTLE_SECONDS = 0.5

Step = tuple[float, int]


@dataclass(frozen=True)
class Joined:
    """What came of one run."""

    events: int
    #: Events a second while the first was alone, until the second was started.
    alone: float
    #: Events a second of both.
    together: float
    #: The longest time without a step of the checkpoints from the second's start on, in seconds.
    pause: float
    usage: Usage
    differences: list[str]

    @property
    def ratio(self) -> float:
        return self.together / self.alone


def pair(stand: Stand, verifier: Verifier) -> Joined:
    """Run both over the whole log.

    Raises:
        Failed: a worker ended or stood still, or the log was too short for the second.
    """
    (ours,) = [each for each in CONTESTANTS if each.name == OURS]
    wanted = verifier.events
    with tables(stand, ours) as database, Watch(database) as watch:
        with running(stand, ours, database) as first:
            begun = first_events(first)
            meter = Meter({"worker": first.pid, **servers(stand)}).start()
            steps = [(begun, 0)]
            _follow(watch, steps, int(wanted * JOIN_AT), [first])
            launched = time.time()
            with running(stand, ours, database) as second:
                _follow(watch, steps, wanted, [first, second])
                usage = meter.stop()
                if not second.server.ready(second.pid):
                    why = "the log was over before the second worker had any of it"
                    raise Failed(f"{why}; take a larger scale\n{last_words(second)}")
                joined = first_events(second)
        differences = asyncio.run(verifier.differences(database))
    return Joined(
        wanted,
        _rate(steps, begun, launched, wanted),
        _rate(steps, joined + SETTLE_SECONDS, steps[-1][0], int(wanted * MEASURED_TO)),
        max(after[0] - before[0] for before, after in pairwise(steps) if after[0] > launched),
        usage,
        differences,
    )


def _follow(watch: Watch, steps: list[Step], wanted: int, children: list[Child]) -> None:
    """Note each step of the checkpoints until they are so far."""
    while steps[-1][1] < wanted:
        position = watch.position()
        if position > steps[-1][1]:
            steps.append((time.time(), position))
        for child in children:
            if child.has_ended():
                raise Failed(f"{child.ending()}\n{last_words(child)}")
        if time.time() - steps[-1][0] > STEP_SECONDS_MAX:
            raise Failed(f"stands still at {position} of {wanted}")
        time.sleep(LOOK_SECONDS)


def _rate(steps: list[Step], begin: float, end: float, below: int) -> float:
    """Events a second between two times, as long as less than ``below`` were applied."""
    within = [step for step in steps if begin <= step[0] <= end and step[1] <= below]
    if len(within) < 2:
        raise Failed("the log is too short to measure both workers; take a larger scale")
    (start, first), (stop, last) = within[0], within[-1]
    return (last - first) / (stop - start)

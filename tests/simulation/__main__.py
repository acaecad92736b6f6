"""`python -m tests.simulation`: play histories, or one of them with all its steps."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial

from tests.simulation.faults import Fault, Plan
from tests.simulation.history import History, play

#: Histories that one process plays before it reports.
CHUNK = 20

#: What is appended in a history of which every step goes wrong once.
ACTS_OF_EVERY_STEP = 6


def main() -> int:
    """Returns 0 if every invariant held in every history, else 1."""
    options = _options()
    if options.seed is not None:
        history = play(options.seed)
        print("\n".join(map(str, history.trace)))
        print(history)
        return 1 if history.broken else 0
    if options.every_step is not None:
        return _report(_every_step(options.every_step), options.jobs)
    seeds = range(options.first, options.first + options.histories)
    chunks = [list(seeds[at : at + CHUNK]) for at in range(0, len(seeds), CHUNK)]
    return _report([partial(_play_all, chunk) for chunk in chunks], options.jobs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one and print its steps")
    parser.add_argument("--histories", type=int, default=1000, help="how many to play")
    parser.add_argument("--first", type=int, default=1, help="the first of their seeds")
    parser.add_argument(
        "--every-step", type=int, metavar="SEED", help="let each step of this one go wrong in turn"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    return parser.parse_args()


Job = partial[list[History]]


def _play_all(seeds: Sequence[int]) -> list[History]:
    return [play(seed) for seed in seeds]


def _every_step(seed: int) -> list[Job]:
    calm = play_with(seed, {})
    return [partial(_play_steps, seed, number) for number in range(calm.calls)]


def _play_steps(seed: int, number: int) -> list[History]:
    return [play_with(seed, {number: fault}) for fault in Fault]


def play_with(seed: int, at: dict[int, Fault]) -> History:
    """A small history in which only these calls go wrong."""
    return play(
        seed, plan=lambda chance: Plan(chance, at=at), acts=ACTS_OF_EVERY_STEP, disturbances=0
    )


def _report(jobs: Sequence[Job], processes: int) -> int:
    """Play all, say how far it is once a second, and each broken history when it is found."""
    began = said = time.monotonic()
    histories = events = calls = deaths = broken = 0
    for played in _played(jobs, processes):
        for history in played:
            histories += 1
            events, calls = events + history.events, calls + history.calls
            deaths += history.deaths
            if history.broken:
                broken += 1
                print(history, flush=True)
        now = time.monotonic()
        if now - said >= 1:
            said = now
            rate = 60 * histories / (now - began)
            print(f"{histories} histories, {rate:.0f} a minute, {broken} broken", flush=True)
    seconds = time.monotonic() - began
    print(
        f"{histories} histories in {seconds:.1f} s ({60 * histories / seconds:.0f} a minute):"
        f" {events} records, {calls} calls, {deaths} deaths, {broken} broken"
    )
    return 1 if broken else 0


def _played(jobs: Sequence[Job], processes: int) -> Iterator[list[History]]:
    with ProcessPoolExecutor(processes) as pool:
        for done in as_completed([pool.submit(_without_traces, job) for job in jobs]):
            yield done.result()


def _without_traces(job: Job) -> list[History]:
    """A trace is long; whoever wants it plays the seed again."""
    histories = job()
    for history in histories:
        history.trace.clear()
    return histories


if __name__ == "__main__":
    sys.exit(main())

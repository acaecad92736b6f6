"""Histories with faults at every kind of step come to what a plain recomputation comes to."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.__main__ import play_with
from tests.simulation.faults import Fault
from tests.simulation.history import History, play

ROOT = Path(__file__).parents[2]

#: Fixed seeds, in tests of some each; and seeds that are new in every run.
SEEDS = range(1, 161)
SEEDS_OF_A_TEST = 20
NEW_SEEDS = 12

#: The small history of which every step goes wrong, and the faults that each step meets.
SEED_OF_STEPS = 7
FAULTS_OF_STEPS = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.UNKNOWN)


def check(history: History) -> None:
    assert not history.broken, f"python -m tests.simulation --seed {history.seed}\n{history}"


@pytest.mark.parametrize("first", SEEDS[::SEEDS_OF_A_TEST])
def test_histories(first: int) -> None:
    for seed in range(first, first + SEEDS_OF_A_TEST):
        check(play(seed))


def test_new_histories() -> None:
    for _ in range(NEW_SEEDS):
        check(play(random.SystemRandom().randrange(1 << 40)))


@pytest.mark.parametrize("fault", FAULTS_OF_STEPS, ids=lambda fault: fault.name)
def test_every_step_may_go_wrong(fault: Fault) -> None:
    calls = play_with(SEED_OF_STEPS, {}).calls
    assert calls > 50
    for number in range(calls):
        history = play_with(SEED_OF_STEPS, {number: fault})
        assert not history.broken, f"call {number}: {fault.value}: {history}"


def test_a_seed_is_one_history_wherever_it_is_played() -> None:
    """Not even the order of sets, which differs between processes, may decide anything."""
    play_some = (
        "from tests.simulation.history import play;"
        "print([play(seed).digest for seed in range(1, 9)])"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", play_some],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert said[0] == said[1]

"""What a fault run is told, read once from the command line."""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from tests.faults.parts import Broker

_BROKERS = ("tansu", "kafka")
_SEED_MAX = 2**31
_MINUTES_MAX = 24 * 60.0
_RATE_MAX = 5_000.0


@dataclass(frozen=True)
class Settings:
    """One run."""

    seed: int
    #: How long faults come; the way to rest and the comparison come on top.
    minutes: float
    broker: Broker
    #: Events per second that are sent.
    rate: float
    #: Whether the run's folder stays even if all is well.
    keep: bool

    @property
    def again(self) -> str:
        """The command that repeats the run."""
        return f"make faults SEED={self.seed} MINUTES={self.minutes:g} BROKER={self.broker}"


def read_settings(arguments: Sequence[str]) -> Settings:
    """The settings of the command line; without a seed one is drawn.

    Raises:
        SystemExit: one is wrong; which, and what it takes, is on standard error.
    """
    parser = argparse.ArgumentParser("make faults", description="Fault runs on real processes.")
    parser.add_argument("--seed", type=_seed, help="a whole number; drawn if left out")
    parser.add_argument("--minutes", type=_minutes, default=3.0, help="how long faults come")
    parser.add_argument("--broker", choices=_BROKERS, default="tansu")
    parser.add_argument("--rate", type=_rate, default=100.0, help="events per second")
    parser.add_argument("--keep", action="store_true", help="keep the folder in any case")
    given = parser.parse_args(arguments)
    seed = random.randrange(1_000_000) if given.seed is None else given.seed
    return Settings(seed, given.minutes, cast(Broker, given.broker), given.rate, given.keep)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= _SEED_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: SEED takes a whole number below {_SEED_MAX}")
    return int(text)


def _minutes(text: str) -> float:
    return _positive("MINUTES", text, _MINUTES_MAX)


def _rate(text: str) -> float:
    return _positive("RATE", text, _RATE_MAX)


def _positive(name: str, text: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number <= most:
        raise argparse.ArgumentTypeError(f"{text!r}: {name} takes a number above 0, at most {most}")
    return number

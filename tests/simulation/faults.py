"""What can go wrong at a step, and how often it does in one history."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Fault(Enum):
    """What happens to one call of a port: the request, the server's step, the answer."""

    LOST = "the request is lost"
    UNKNOWN = "done, and the answer is lost"
    LATE = "the connection breaks, and the server does it later"
    CRASH_BEFORE = "the process dies before the request"
    CRASH_AFTER = "done, and the process dies before the answer"
    CRASH_LATE = "the process dies, and the server does it later"
    PAUSE_BEFORE = "the process stands still before the request"
    PAUSE_AFTER = "done, and the process stands still before the answer"


DEATHS = frozenset({Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.CRASH_LATE})
#: The server takes this step although nobody hears of it.
UNHEARD = frozenset({Fault.LATE, Fault.CRASH_LATE})
#: The call ends before the server has taken the step.
UNDONE = frozenset({Fault.LOST, Fault.CRASH_BEFORE}) | UNHEARD

#: Faults of one history at most: it must end some time.
FAULTS_MAX = 25


@dataclass
class Plan:
    """Which calls go wrong, and how.

    ``rates`` are chances for each call; ``at`` names single calls by their number.
    """

    chance: random.Random
    rates: Mapping[Fault, float] = field(default_factory=dict)
    at: Mapping[int, Fault] = field(default_factory=dict)
    left: int = FAULTS_MAX
    drawn: int = 0

    def __post_init__(self) -> None:
        self._total = sum(self.rates.values())

    def draw(self) -> Fault | None:
        """The fault of the next call."""
        number = self.drawn
        self.drawn += 1
        if self.at:
            return self.at.get(number)
        if self.left <= 0 or self.chance.random() >= self._total:
            return None
        self.left -= 1
        (fault,) = self.chance.choices(list(self.rates), list(self.rates.values()))
        return fault

    def end(self) -> None:
        """Nothing goes wrong any more."""
        self.left, self._total, self.at = 0, 0.0, {}


def swarm(chance: random.Random) -> Plan:
    """Some kinds of faults, each rare or frequent: histories differ in what they are made of."""
    kinds = [fault for fault in Fault if chance.random() < 0.5]
    rates = {fault: chance.choice((0.002, 0.01, 0.04)) for fault in kinds}
    return Plan(chance, rates, left=chance.randint(0, FAULTS_MAX))

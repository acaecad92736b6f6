"""Which faults come, in which order and for how long: all of it follows from the seed.

Faults come in rounds. Those of one round overlap and hit different things; the next round begins
when the faults of this one have ended, and mostly only when the system has recovered from them.
The faults are dealt from a deck that is shuffled anew when it is empty, so that every kind comes
once before any comes twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.faults.parts import Broker

SERVERS = ("kafka", "postgres", "clickhouse")
OURS = ("worker", "relay", "gateway")
ALL = "everything"


class Kind(StrEnum):
    """What is done; the length is the time until it is undone."""

    #: SIGKILL, then started again.
    KILL = "kill"
    #: SIGSTOP, then SIGCONT.
    STOP = "stop"
    #: The same for longer than the group waits for a silent worker: others take its partitions.
    ZOMBIE = "zombie"
    #: One worker more, one less: the partitions move.
    ADD = "add"
    REMOVE = "remove"
    #: Open connections are reset, and new ones for the length.
    CUT = "cut"
    #: Everything that passes is held back for a while.
    DELAY = "delay"
    #: Connections stay open and silent.
    STALL = "stall"
    #: Postgres takes no writes.
    READ_ONLY = "read-only"


@dataclass(frozen=True)
class Fault:
    """One fault."""

    kind: Kind
    #: One of `OURS` or `SERVERS`, or `ALL`.
    target: str
    #: Seconds after the beginning of its round.
    after: float
    #: Seconds until it is undone.
    length: float
    #: Which of several it hits: any number, taken modulo how many there are.
    pick: int
    #: Seconds by which what passes is held back.
    delay: float = 0.0

    def __str__(self) -> str:
        how = f" by {self.delay * 1000:.0f} ms" if self.delay else ""
        long = f" for {self.length:.1f} s" if self.length else ""
        return f"{self.kind} {self.target}{how}{long}"


@dataclass(frozen=True)
class Round:
    """Faults that overlap."""

    faults: tuple[Fault, ...]
    #: Whether the next round waits until the system has recovered from this one.
    recovers: bool
    #: Seconds of peace afterwards.
    pause: float


@dataclass(frozen=True)
class Card:
    """What can happen to what, and how long it lasts, in seconds."""

    kind: Kind
    target: str
    shortest: float = 0.0
    longest: float = 0.0
    #: The chance that it is undone at once.
    at_once: float = 0.0

    @property
    def place(self) -> tuple[str, bool]:
        """Two faults of one round must not meet here: a server and the way to it are two places."""
        return self.target, self.kind in (Kind.CUT, Kind.DELAY, Kind.STALL)


#: Rounds of one, two and three faults, by weight.
_SIZES = ((1, 2, 3), (4, 3, 3))
_AFTER_SECONDS_MAX = 2.5
_RECOVERS_CHANCE = 0.7
_PAUSE_SECONDS_MAX = 1.5
_DELAYS_SECONDS = (0.02, 0.3)


def deck(broker: Broker) -> list[Card]:
    """Everything that can be done with this broker.

    The one in memory is never killed: its death is the end of the log. Nor are the ways to it cut
    or held up: it keeps the producers' stamps, so that a command whose delivery is late is stamped
    before what overtook it, and from when on it holds does not follow from the log any more.
    """
    mortal = [name for name in (*OURS, *SERVERS) if (name, broker) != ("kafka", "tansu")]
    ways = SERVERS if broker == "kafka" else SERVERS[1:]
    return [
        *(Card(Kind.KILL, name, 0.5, 6.0, at_once=0.5) for name in mortal),
        *(Card(Kind.STOP, name, 0.5, 4.0) for name in (*OURS, *SERVERS)),
        Card(Kind.ZOMBIE, "worker", 7.0, 12.0),
        Card(Kind.ADD, "worker"),
        Card(Kind.REMOVE, "worker"),
        *(Card(Kind.CUT, name, 0.5, 3.0, at_once=0.5) for name in ways),
        *(Card(Kind.DELAY, name, 2.0, 6.0) for name in ways),
        *(Card(Kind.STALL, name, 1.0, 5.0) for name in ways),
        Card(Kind.READ_ONLY, "postgres", 1.0, 5.0),
        Card(Kind.KILL, ALL, 0.5, 3.0, at_once=0.5),
    ]


def rounds(seed: int, broker: Broker) -> Iterator[Round]:
    """Rounds without end; the same for the same seed and broker."""
    chance = random.Random(f"faults {seed} {broker}")
    cards: list[Card] = []
    while True:
        size = chance.choices(*_SIZES)[0]
        dealt: list[Card] = []
        while len(dealt) < size:
            if not cards:
                cards = deck(broker)
                chance.shuffle(cards)
            if not _fits(cards[-1], dealt):
                break
            dealt.append(cards.pop())
        faults = tuple(_fault(card, number, chance) for number, card in enumerate(dealt))
        recovers = chance.random() < _RECOVERS_CHANCE
        yield Round(faults, recovers, chance.uniform(0.0, _PAUSE_SECONDS_MAX))


def _fits(card: Card, dealt: list[Card]) -> bool:
    if not dealt:
        return True
    everything = card.target == ALL or dealt[0].target == ALL
    return not everything and card.place not in [each.place for each in dealt]


def _fault(card: Card, number: int, chance: random.Random) -> Fault:
    at_once = chance.random() < card.at_once
    length = 0.0 if at_once else chance.uniform(card.shortest, card.longest)
    delay = chance.uniform(*_DELAYS_SECONDS) if card.kind is Kind.DELAY else 0.0
    after = chance.uniform(0.0, _AFTER_SECONDS_MAX) if number else 0.0
    return Fault(card.kind, card.target, after, length, chance.randrange(1_000), delay)

"""What a reader of the tail gets to see: whose events, of which types, from which partitions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway.auth import CONSUMER, OPERATOR, Principal
from gateway.tail.cursor import NUMBERED_TOPICS, Group, Shape
from gateway.tail.message import Asked
from schemas.errors import Invalid
from schemas.registry import TYPES
from schemas.topics import JOURNEYS, TOPICS, KeyKind, partition_of

PATTERNS_MAX = 64
PATTERN_LENGTH_MAX = 128

_PATTERN = re.compile(r"[A-Za-z0-9_.*-]+")
_MARKET = frozenset({KeyKind.SYMBOL, KeyKind.PAIR})


@dataclass(frozen=True)
class Selection:
    """Who reads, and which types: ``types`` are names with the version that the log has."""

    user_id: str
    sees_all: bool
    types: frozenset[str]

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that these types travel on, as far as the tail has them."""
        found = {TYPES[name].topic.name for name in self.types}
        return tuple(name for name in NUMBERED_TOPICS if name in found)

    @property
    def sees_market(self) -> bool:
        return any(map(is_of_the_market, self.topics))

    def asked(self, topic: str) -> Asked:
        """Which keys of this topic's records may be seen."""
        if self.sees_all or not is_of_persons(topic):
            return anybody
        own = self.user_id.encode()
        return lambda key: key == own


def anybody(_key: bytes | None) -> bool:
    """Asks for all records."""
    return True


def is_of_persons(topic: str) -> bool:
    """Whether all its events are keyed by the one person who may see them."""
    return TOPICS[topic].key is KeyKind.USER


def is_of_the_market(topic: str) -> bool:
    """Whether its events are nobody's in particular."""
    return TOPICS[topic].key in _MARKET


def patterns_of(texts: Sequence[str]) -> tuple[str, ...]:
    """The type patterns of a query (repeated or separated by commas); raises Invalid."""
    patterns = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    if len(patterns) > PATTERNS_MAX:
        raise Invalid(f"at most {PATTERNS_MAX} type patterns are taken")
    for pattern in patterns:
        if len(pattern) > PATTERN_LENGTH_MAX or not _PATTERN.fullmatch(pattern):
            raise Invalid("a type pattern has letters, digits, `_`, `-`, `.` and `*` only")
    return tuple(sorted(set(patterns)))


def selection_of(principal: Principal, patterns: tuple[str, ...]) -> Selection:
    """What this principal sees with these patterns.

    Without a pattern a person sees all of their own events, and no market data: nobody asked for
    it. Operators and consumers see everything.
    """
    sees_all = principal.may(OPERATOR, CONSUMER)
    return Selection(principal.user_id, sees_all, _types(patterns, sees_all))


@lru_cache(maxsize=4096)
def _types(patterns: tuple[str, ...], sees_all: bool) -> frozenset[str]:
    if not patterns:
        return frozenset(
            name for name, known in TYPES.items() if sees_all or known.topic.key not in _MARKET
        )
    # A type is asked for with its version or without.
    wanted = re.compile("|".join(re.escape(p).replace(r"\*", ".*") for p in patterns))
    return frozenset(
        name
        for name, known in TYPES.items()
        if wanted.fullmatch(name) or wanted.fullmatch(known.name)
    )


def shape_of(selection: Selection, partitions: Callable[[str], int]) -> Shape:
    """The partitions that can hold what is selected.

    A person's events share one partition number. Journeys are followed in all partitions, because
    steps before the login are keyed by session; market data is keyed by symbol and pair.
    """
    whole: dict[int, list[str]] = {}
    own: dict[int, list[str]] = {}
    for topic in selection.topics:
        count = partitions(topic)
        if selection.sees_all or topic == JOURNEYS.name or is_of_the_market(topic):
            whole.setdefault(count, []).append(topic)
        else:
            number = partition_of(selection.user_id.encode(), count)
            own.setdefault(number, []).append(topic)
    groups = [Group(tuple(topics), number, 1) for number, topics in sorted(own.items())]
    groups += [Group(tuple(topics), 0, count) for count, topics in sorted(whole.items())]
    return Shape(groups)

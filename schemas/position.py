"""Where an event is in the log, and how far somebody has read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas.errors import Invalid


class Position(NamedTuple):
    """The place of one event: `str()` gives `bfc.ledger:3:1042`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read `topic:partition:offset`; raises Invalid."""
        parts = text.split(":")
        if len(parts) != 3 or not parts[0]:
            raise Invalid(f"a position is topic:partition:offset, got {text[:100]!r}")
        return cls(parts[0], _count(parts[1], text), _count(parts[2], text))


class PositionToken:
    """A set of next offsets, one per partition: what a write has reached or a read reflects.

    Immutable. As text `bfc.ledger:3:1043,app.commands:3:7`; an empty token is the empty text.
    """

    __slots__ = ("_positions",)

    def __init__(self, positions: Mapping[tuple[str, int], int] | None = None) -> None:
        self._positions = dict(positions or {})

    @property
    def positions(self) -> Mapping[tuple[str, int], int]:
        """(topic, partition) -> the next offset to read."""
        return self._positions

    @classmethod
    def after(cls, positions: Iterable[Position]) -> PositionToken:
        """The token of somebody who has read all of `positions`."""
        ends: dict[tuple[str, int], int] = {}
        for topic, partition, offset in positions:
            ends[topic, partition] = max(offset + 1, ends.get((topic, partition), 0))
        return cls(ends)

    @classmethod
    def parse(cls, text: str) -> PositionToken:
        """Read what `encode` wrote; raises Invalid."""
        positions: dict[tuple[str, int], int] = {}
        for part in text.split(",") if text else ():
            topic, partition, offset = Position.parse(part.strip())
            if (topic, partition) in positions:
                raise Invalid(f"a position token names {topic}:{partition} twice")
            positions[topic, partition] = offset
        return cls(positions)

    def encode(self) -> str:
        """The token as text, sorted, so that equal tokens are equal texts."""
        return ",".join(f"{t}:{p}:{offset}" for (t, p), offset in sorted(self._positions.items()))

    def merge(self, other: PositionToken) -> PositionToken:
        """The furthest of both in every partition."""
        merged = dict(self._positions)
        for place, offset in other._positions.items():
            merged[place] = max(offset, merged.get(place, 0))
        return PositionToken(merged)

    def covers(self, other: PositionToken) -> bool:
        """Whether everything that `other` has read is read here too."""
        own = self._positions
        return all(own.get(place, 0) >= offset for place, offset in other._positions.items())

    def __str__(self) -> str:
        return self.encode()

    def __repr__(self) -> str:
        return f"PositionToken({self.encode()!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PositionToken) and self._positions == other._positions

    def __hash__(self) -> int:
        return hash(frozenset(self._positions.items()))

    def __bool__(self) -> bool:
        return bool(self._positions)


def _count(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise Invalid(f"a position is topic:partition:offset, got {whole[:100]!r}")
    return int(text)

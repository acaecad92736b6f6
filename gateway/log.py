"""The log as the gateway needs it; the composition root brings what fulfils it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from schemas.codec import Encoded
from schemas.position import Position

Place = tuple[str, int]


class Log(Protocol):
    """Where writes go."""

    async def append(self, events: Sequence[Encoded]) -> Sequence[Position]:
        """Append in order and return when all in-sync replicas have them, one position each.

        They are valid (`schemas.codec.judge`); nobody checks them again.

        Raises:
            Unavailable: the log does not answer; what became of the events is unknown, and
                sending them again with the same ids does no harm.
        """


class Ends(Protocol):
    """Where the log ends now."""

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; raises Unavailable while the log has not answered."""

    async def ends(self, places: Collection[Place]) -> Mapping[Place, int]:
        """The next offset of each place; raises Unavailable."""


class Follower(Ends, Protocol):
    """Somebody who reads along."""

    async def caught_up(self, places: Collection[Place]) -> None:
        """Return once everything is read that was in these places when this was asked.

        Raises:
            Unavailable: the log does not answer, or reading is too far behind.
        """

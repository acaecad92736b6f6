"""What a process lacks at the moment, told by those who wait for it and shown to those who ask."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

#: Parts that belong to no projection.
INDEX = "index"
PROGRESS = "progress"
RELAY = "relay"
BROKER = "kafka"
WATCHDOG = "watchdog"


@dataclass(frozen=True)
class Trouble:
    """Something is awaited since ``since`` (UTC).

    ``part`` is who waits, a projection's name or one of this module's; ``what`` says what it is
    doing; ``error`` is the newest answer.
    """

    part: str
    what: str
    error: str
    since: datetime


def now_utc() -> datetime:
    return datetime.now(UTC)


class Health:
    """The troubles of one process; handed to whatever may meet one."""

    def __init__(self, clock: Callable[[], datetime] = now_utc) -> None:
        self._clock = clock
        self._troubles: dict[tuple[str, object], Trouble] = {}
        #: Attempts that failed because something was away, by part.
        self.retries: Counter[str] = Counter()
        #: How many partitions are owned; None while it is not settled which.
        self.partitions: int | None = None
        #: Set while that is settled.
        self.owning = asyncio.Event()
        #: How often partitions were assigned.
        self.assignments = 0

    def of(self, part: str) -> Reporter:
        """Through which one part tells its troubles."""
        return Reporter(self, part)

    def lost(self, part: str, call: object, what: str, error: str) -> None:
        """An attempt of ``call`` failed; it goes on trying."""
        self.retries[part] += 1
        known = self._troubles.get((part, call))
        since = known.since if known is not None else self._clock()
        self._troubles[part, call] = Trouble(part, what, error, since)

    def over(self, part: str, call: object) -> None:
        """The call succeeded, or was given up."""
        self._troubles.pop((part, call), None)

    @property
    def troubles(self) -> list[Trouble]:
        """One for each part that waits, the oldest; parts in the order of their names."""
        oldest: dict[str, Trouble] = {}
        for trouble in self._troubles.values():
            known = oldest.get(trouble.part)
            if known is None or trouble.since < known.since:
                oldest[trouble.part] = trouble
        return [oldest[part] for part in sorted(oldest)]


class Reporter:
    """One part's way to tell its troubles."""

    def __init__(self, health: Health, part: str) -> None:
        self._health = health
        self._part = part

    def lost(self, call: object, what: str, error: str) -> None:
        """An attempt of ``call`` failed; it goes on trying."""
        self._health.lost(self._part, call, what, error)

    def over(self, call: object) -> None:
        """The call succeeded, or was given up."""
        self._health.over(self._part, call)

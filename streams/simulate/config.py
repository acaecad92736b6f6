"""What a simulation is told; the same values give the same events, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

PEOPLE_MAX = 1_000_000
"""Each person costs some 5 KB of memory while the simulation runs."""

MONTHS_MAX = 144
"""The price data reach back 153 months; a year is left for shorter calendars."""


class BadConfig(ValueError):
    """A simulation was asked for with values that make no sense."""


@dataclass(frozen=True, slots=True)
class Config:
    """How many people, how many months of history, ending when, from which seed."""

    people: int
    months: int
    until: datetime
    seed: str = "1"

    def __post_init__(self) -> None:
        if not 1 <= self.people <= PEOPLE_MAX:
            raise BadConfig(f"people: {self.people} is not between 1 and {PEOPLE_MAX}")
        if not 0 <= self.months <= MONTHS_MAX:
            raise BadConfig(f"months: {self.months} is not between 0 and {MONTHS_MAX}")
        if self.until.tzinfo is None:
            raise BadConfig("until: needs an offset, such as 2026-11-22T12:00:00Z")

    @property
    def end_ms(self) -> int:
        """The end of history, excluded, in milliseconds since 1970."""
        return int(self.until.timestamp() * 1000)

    @property
    def start(self) -> datetime:
        """Midnight UTC of the day, `months` months before the end; a month's last day at most."""
        until = self.until.astimezone(UTC)
        month = until.year * 12 + until.month - 1 - self.months
        return datetime(month // 12, month % 12 + 1, min(until.day, 28), tzinfo=UTC)

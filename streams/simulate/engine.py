"""The clock and the agenda of the simulated world: a discrete event simulation.

Everything that will happen stands on one agenda, ordered by moment. Carrying out an entry says
what happened (drafts of events) and may put further entries on the agenda. So history comes out
in time order by construction, and the live mode is the same agenda read on.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from random import Random
from typing import Any

from schemas.envelope import Draft

Act = Callable[..., object]
Clock = Callable[[int], int]
"""Turns the agenda's moment into the event's `time`; both are milliseconds since 1970."""

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


@dataclass(frozen=True, slots=True)
class Cause:
    """What a follow-up event names: the event before it, and the first one of the chain."""

    event: str
    first: str


class Engine:
    """Agenda, ids and drafts of one simulated world."""

    def __init__(self, seed: str, start: int) -> None:
        self.now = start
        self._ids = Random(f"{seed}/ids")
        self._agenda: list[tuple[int, int, Act, tuple[Any, ...]]] = []
        self._entries = 0
        self._said: list[Draft] = []
        self._clock: Clock | None = None

    def today(self) -> date:
        """The agenda's day in UTC."""
        return datetime.fromtimestamp(self.now / 1000, UTC).date()

    def at(self, moment: int, act: Act, *arguments: Any) -> None:
        """Put `act(*arguments)` on the agenda. Of two at one moment the earlier entry comes first.

        A moment that is already past is taken as now: time never runs backwards.
        """
        self._entries += 1
        heapq.heappush(self._agenda, (max(moment, self.now), self._entries, act, arguments))

    def after(self, delay: int, act: Act, *arguments: Any) -> None:
        """Put `act(*arguments)` on the agenda `delay` milliseconds from now."""
        self.at(self.now + delay, act, *arguments)

    def run(self, end: int | None = None) -> Iterator[Draft]:
        """What happens, in time order, up to `end` (milliseconds, excluded) or without end."""
        agenda = self._agenda
        while agenda and (end is None or agenda[0][0] < end):
            self.now, _, act, arguments = heapq.heappop(agenda)
            act(*arguments)
            if self._said:
                said, self._said = self._said, []
                yield from said
        if end is not None:
            self.now = max(self.now, end)

    def go_live(self, clock: Clock) -> None:
        """From now on events carry the clock's time instead of the agenda's."""
        self._clock = clock

    def say(
        self,
        kind: str,
        source: str,
        data: dict[str, Any],
        *,
        user: str | None = None,
        subject: str | None = None,
        sequence: int | None = None,
        cause: Cause | None = None,
    ) -> Cause:
        """Something happened now: `kind` is the full type name, `data` as it goes on the wire.

        Returns what a follow-up gives as its cause.
        """
        moment = self.now if self._clock is None else self._clock(self.now)
        event = self._id(moment)
        self._said.append(
            Draft(
                type=kind,
                source=source,
                data=data,
                user_id=user,
                subject=subject,
                time=datetime.fromtimestamp(moment / 1000, UTC),
                id=event,
                sequence=None if sequence is None else str(sequence),
                correlation_id=cause.first if cause else None,
                causation_id=cause.event if cause else None,
            )
        )
        return Cause(event=event, first=cause.first if cause else event)

    def _id(self, moment: int) -> str:
        """A UUIDv7 whose random bits come from the seed."""
        bits = self._ids.getrandbits(74)
        high = moment << 16 | 0x7000 | bits >> 62
        low = 0x8000_0000_0000_0000 | bits & 0x3FFF_FFFF_FFFF_FFFF
        text = f"{high:016x}{low:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

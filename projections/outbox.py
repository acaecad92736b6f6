"""What is owed to the log, as values; and the outbox in memory, for simulation and tests."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from projections import dead_letters
from projections.batch import DeadLetter, Partition
from projections.rows import Timer
from schemas.codec import Encoded, encode_batch
from schemas.envelope import HEADERS, Draft, derived_id

TIMER_SOURCE = "/streams/scheduler"
TIMER_TYPE = "app.timer.fired.v1"

Header = tuple[str, bytes | None]

#: What tells a record apart in the log: its topic, and its identity there.
Name = tuple[str, str]


class Owed(NamedTuple):
    """One record to publish, in the order of ``seq``.

    ``ahead`` says that the log has it already: this database was restored from a backup, or is a
    new one, and derived it again.
    """

    seq: int
    identity: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]
    ahead: bool = False

    @property
    def name(self) -> Name:
        return self.topic, self.identity


def fired(projection: str, timer: Timer) -> Draft:
    """The event of a timer that is due; the same timer gives the same id."""
    assert timer.due is not None
    cause = f"{projection}|{timer.user_id}|{timer.timer}|{timer.due.isoformat()}"
    return Draft(
        type=TIMER_TYPE,
        source=TIMER_SOURCE,
        id=derived_id("scheduler", 1, cause, 0),
        subject=timer.timer,
        user_id=timer.user_id,
        time=timer.due,
        data={"timer": timer.timer, "projection": projection, "payload": timer.payload},
    )


def owed_event(seq: int, draft: Draft, encoded: Encoded) -> Owed:
    """A derived event as it is owed to its topic."""
    return Owed(seq, draft.id, encoded.topic, encoded.key, encoded.value, HEADERS)


def owed_letter(seq: int, letter: DeadLetter) -> Owed:
    """A dead letter as it is owed to its topic."""
    headers = dead_letters.headers_of(letter)
    key, value = (letter.record.key, letter.record.value) if letter.record else (None, None)
    identity = dead_letters.identity_of(headers)
    return Owed(seq, identity, dead_letters.TOPIC, key, value, headers)


class MemoryOutbox:
    """The outbox of a memory store; the same port as that of PostgreSQL.

    ``timers`` is the store's own dictionary, by projection, person and timer.
    """

    def __init__(self, timers: dict[tuple[str, str, str], Timer]) -> None:
        self.owed: dict[int, Owed] = {}
        self.published_ahead: set[Name] = set()
        self.relay_positions: dict[Partition, int] = {}
        self._timers = timers
        self._seq = 0
        self._woken = asyncio.Event()

    def owe(
        self,
        drafts: Sequence[Draft],
        events: Sequence[Encoded],
        letters: Sequence[DeadLetter] = (),
    ) -> None:
        """Owe these to the log: derived events with what they are encoded to, and dead letters."""
        for draft, event in zip(drafts, events, strict=True):
            self._seq += 1
            self.owed[self._seq] = owed_event(self._seq, draft, event)
        for letter in letters:
            self._seq += 1
            self.owed[self._seq] = owed_letter(self._seq, letter)
        self._woken.set()

    async def pending(self, limit: int) -> list[Owed]:
        oldest = [self.owed[seq] for seq in sorted(self.owed)[:limit]]
        return [record._replace(ahead=record.name in self.published_ahead) for record in oldest]

    async def settle(self, seqs: Sequence[int], positions: Mapping[Partition, int]) -> None:
        for seq in seqs:
            record = self.owed.pop(seq, None)
            if record is not None:
                self.published_ahead.discard(record.name)
        self.relay_positions.update(positions)

    async def positions(self) -> dict[Partition, int]:
        return dict(self.relay_positions)

    async def found(self, names: Collection[Name], positions: Mapping[Partition, int]) -> int:
        wanted = set(names)
        settled = [record for record in self.owed.values() if record.name in wanted]
        for record in settled:
            del self.owed[record.seq]
        self.published_ahead |= wanted - {record.name for record in settled}
        self.relay_positions.update(positions)
        return len(settled)

    async def fire_timers(self, now: datetime, limit: int) -> int:
        due = [key for key, timer in self._timers.items() if timer.due and timer.due <= now]
        for key in due[:limit]:
            drafts = [fired(key[0], self._timers.pop(key))]
            self.owe(drafts, encode_batch(drafts))
        return len(due[:limit])

    async def next_due(self) -> datetime | None:
        return min((timer.due for timer in self._timers.values() if timer.due), default=None)

    async def woken(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()

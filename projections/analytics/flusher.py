"""Collects the rows of all partitions of this process and sends them together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from uuid import UUID

from projections.analytics.append import AppendTable, Flush, FlushLog, Lost
from projections.analytics.gather import ANALYTICS, Gathered
from projections.analytics.sending import Sending
from projections.backoff import Report, Sleep, until_available
from projections.batch import Batch, Checkpoint, Move, Partition
from schemas.envelope import uuid7

#: Rows at which a flush starts at once: large blocks cost the store least, and at 50,000 rows the
#: two transactions around a flush no longer show.
FLUSH_ROWS_MAX = 50_000

#: Size of the events in the log at which a flush starts at once: a block must stay far below
#: what the store splits (256 MiB), whatever the rows weigh.
FLUSH_BYTES_MAX = 32 * 1024 * 1024

#: Seconds between the starts of two flushes, unless rows or bytes press: four small parts a
#: second and table is what the store merges with ease, and a reader hardly waits.
FLUSH_INTERVAL_SECONDS = 0.25

#: A flush may take this part of the time until the next one starts, so that a store that is busy
#: gets fewer and larger blocks; but a reader does not wait for longer than the seconds.
FLUSH_SHARE = 1 / 4
FLUSH_INTERVAL_SECONDS_MAX = 1.0

#: What may wait while a flush is under way; beyond it whoever adds waits.
PENDING_ROWS_MAX = 2 * FLUSH_ROWS_MAX
PENDING_BYTES_MAX = 2 * FLUSH_BYTES_MAX

assert PENDING_ROWS_MAX > FLUSH_ROWS_MAX
assert PENDING_BYTES_MAX > FLUSH_BYTES_MAX

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """The rows of one batch that wait to be sent; ``ahead`` says that some may be there already."""

    move: Move
    batch: Batch
    gathered: Gathered
    ahead: bool = False


class _Pending:
    """Parts in the order in which they came, and what they weigh together."""

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        self.parts: deque[Part] = deque()
        self.rows = self.bytes = 0
        for part in parts:
            self.append(part)

    def append(self, part: Part) -> None:
        self.parts.append(part)
        self.rows += part.gathered.count
        self.bytes += part.gathered.bytes

    def popleft(self) -> Part:
        part = self.parts.popleft()
        self.rows -= part.gathered.count
        self.bytes -= part.gathered.bytes
        return part


#: Asks for those of the partitions that a rebuild handed over to this process.
Regain = Callable[[Collection[Partition]], Awaitable[Mapping[Partition, Checkpoint]]]


class Flusher:
    """One flush at a time; what comes meanwhile makes the next.

    A flush goes:

    1. cut what is pending, oldest first, and encode it,
    2. record it with its ranges, which ties their checkpoints to it,
    3. insert one block into each table, without the rows that are there already (see ``ahead``),
    4. mark it done, which moves the checkpoints.

    A crash leaves it open, and who takes one of its partitions repairs it (``repair``).
    """

    def __init__(
        self,
        log: FlushLog,
        sending: Sending,
        lost: Callable[[Move], None],
        regain: Regain,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        new_id: Callable[[], str] = uuid7,
        report: Report | None = None,
    ) -> None:
        self._log = log
        self._sending = sending
        self._lost = lost
        self._regain = regain
        self._clock = clock
        self._sleep = sleep
        self._report = report
        self._new_id = new_id
        self._pending = _Pending()
        self._changed = asyncio.Event()
        self._in_hand: Sequence[Part] = ()
        self._busy = False
        self._next_start = 0.0

    @property
    def pending_rows(self) -> int:
        """Rows that wait for the next flush."""
        return self._pending.rows

    def verdicts(self) -> dict[UUID, bool]:
        """Of events whose flush is not done: whether they are refused, or were and are not now.

        The dead letters in the store do not know of them yet.
        """
        told: dict[UUID, bool] = {}
        for part in (*self._in_hand, *self._pending.parts):
            told.update((each.event_key, True) for each in part.gathered.letters if each.event_key)
            told.update((key, False) for key in part.gathered.resolved)
        return told

    async def add(self, part: Part) -> None:
        """Queue rows; returns when what waits is below the limits."""
        self._pending.append(part)
        self._notify()
        await self._until(lambda: not self._is_full())

    def drop(self, place: Partition) -> None:
        """Forget the pending rows of a partition: its next owner reads them again."""
        left = (part for part in self._pending.parts if part.move.place != place)
        self._pending = _Pending(left)
        self._notify()

    def clear(self) -> None:
        """Forget everything that is pending."""
        self._pending = _Pending()
        self._notify()

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await self._until(lambda: bool(self._pending.parts))
            await self._until_due()
            await self._flush()

    async def drained(self) -> None:
        """Return when everything that was added is in the store."""
        self._next_start = 0.0
        self._notify()
        await self._until(lambda: not self._pending.parts and not self._busy)

    async def _until_due(self) -> None:
        """Wait for the interval, or until enough is pending, whichever comes first."""
        wait = self._next_start - self._clock()
        if wait > 0 and not self._is_due():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._until(self._is_due)

    async def _flush(self) -> None:
        parts = self._cut()
        if not parts:
            return
        began = self._clock()
        self._next_start = began + FLUSH_INTERVAL_SECONDS
        self._busy = True
        try:
            while parts:
                self._in_hand = parts
                try:
                    await self._send(parts)
                    break
                except Lost as loss:
                    back = await self._regain(loss.places)
                    self._pending = _Pending(_with_epochs(self._pending.parts, back))
                    parts = self._without(
                        list(_with_epochs(parts, back)), loss.places - back.keys()
                    )
        finally:
            self._in_hand = ()
            self._busy = False
            if self._next_start:  # nobody waits for all to be drained
                self._next_start = began + flush_interval(self._clock() - began)
            self._notify()

    async def _send(self, parts: Sequence[Part]) -> None:
        batches = [part.batch for part in parts]
        gathered = Gathered()
        for part in parts:
            gathered.add(part.gathered)
        gathered.sort()
        blocks = await self._sending.encode(gathered, batches)
        flush = Flush(
            id=UUID(self._new_id()),
            projection=ANALYTICS,
            moves=joined(part.move for part in parts),
            rows=_counts(gathered, blocks),
            letters=len(gathered.letters),
            let_in=frozenset(gathered.let_in),
        )
        await until_available(
            "a flush is recorded", lambda: self._log.open(flush), self._sleep, self._report
        )
        if ahead := joined(part.move for part in parts if part.ahead):
            # After it was recorded, so that nobody else sends rows of these ranges any more.
            missing = await until_available(
                "asks what is there already",
                lambda: self._sending.missing(ahead, gathered),
                self._sleep,
                self._report,
            )
            blocks = await self._sending.encode(missing, batches)
            gathered.rows = missing.rows
        await self._sending.send(flush, gathered, blocks, batches)
        await until_available(
            "a flush is marked done",
            lambda: self._log.close(flush, gathered.letters, gathered.resolved),
            self._sleep,
            self._report,
        )

    def _cut(self) -> list[Part]:
        parts: list[Part] = []
        rows = size = 0
        while self._pending.parts and (rows < FLUSH_ROWS_MAX and size < FLUSH_BYTES_MAX):
            part = self._pending.popleft()
            rows += part.gathered.count
            size += part.gathered.bytes
            parts.append(part)
        return parts

    def _without(self, parts: Sequence[Part], places: Collection[Partition]) -> list[Part]:
        for move in joined(part.move for part in parts):
            if move.place in places:
                logger.warning("fenced: %s is another worker's now", move.place)
                self._lost(move)
        return [part for part in parts if part.move.place not in places]

    def _notify(self) -> None:
        """Wake everybody who waits for something here."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._changed.wait()

    def _is_due(self) -> bool:
        return (
            self._clock() >= self._next_start
            or self._pending.rows >= FLUSH_ROWS_MAX
            or self._pending.bytes >= FLUSH_BYTES_MAX
        )

    def _is_full(self) -> bool:
        return self._pending.rows >= PENDING_ROWS_MAX or self._pending.bytes >= PENDING_BYTES_MAX


def _with_epochs(parts: Iterable[Part], back: Mapping[Partition, Checkpoint]) -> Iterator[Part]:
    for part in parts:
        place = part.move.place
        if place in back:
            yield replace(part, move=replace(part.move, epoch=back[place].epoch))
        else:
            yield part


def joined(moves: Iterable[Move]) -> tuple[Move, ...]:
    """One range for each partition, of ranges that follow each other."""

    def whose(move: Move) -> tuple[Partition, int]:
        return move.place, move.epoch

    ranges = []
    for (place, epoch), group in groupby(sorted(moves, key=lambda m: (whose(m), m.start)), whose):
        steps = list(group)
        ranges.append(Move(*place, steps[0].start, steps[-1].end, epoch))
    return tuple(ranges)


def _counts(gathered: Gathered, tables: Collection[AppendTable]) -> dict[str, int]:
    return {table.name: len(gathered.rows[table]) for table in tables}


def flush_interval(seconds: float) -> float:
    """Between the starts of two flushes, of which the first took so long."""
    wanted = seconds / FLUSH_SHARE
    return min(max(wanted, FLUSH_INTERVAL_SECONDS), FLUSH_INTERVAL_SECONDS_MAX)

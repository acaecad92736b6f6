"""From batches to rows: which events take effect, what they become, and which can't."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from uuid import UUID

from projections.analytics.append import AppendTable, Values
from projections.analytics.fold import event_row, typed_rows
from projections.analytics.tables import EVENTS
from projections.batch import Batch, DeadLetter
from projections.rows import Refused
from schemas.envelope import Event
from schemas.position import Position

#: Name of the projection in checkpoints, dead letters and positions.
ANALYTICS = "analytics"


_first_three = itemgetter(slice(3))


@dataclass
class Gathered:
    """Rows by table, with what became of the events that they were made of.

    Attributes:
        rows: by table.
        letters: events that could not be applied.
        resolved: keys of events that had been refused earlier and now took effect.
        let_in: where these stand.
        bytes: size of the events in the log, to bound memory by.
    """

    rows: dict[AppendTable, list[Values]] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    resolved: list[UUID] = field(default_factory=list)
    let_in: list[Position] = field(default_factory=list)
    bytes: int = 0

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(map(len, self.rows.values()))

    def add(self, other: Gathered) -> None:
        """Join the other's into this."""
        for table, rows in other.rows.items():
            self.rows.setdefault(table, []).extend(rows)
        self.letters += other.letters
        self.resolved += other.resolved
        self.let_in += other.let_in
        self.bytes += other.bytes

    def sort(self) -> None:
        """Bring the rows of each table into the order of the log, the same in every attempt."""
        for table, rows in self.rows.items():
            rows.sort(key=table.place if table.merges else _first_three)

    def bury(self, letters: Sequence[DeadLetter], tables: Collection[AppendTable]) -> None:
        """Keep no rows of these events in these tables; the events are dead letters."""
        positions = {letter.position for letter in letters}
        keys = {letter.event_key for letter in letters}
        for table in tables:
            rows = self.rows[table]
            rows[:] = [row for row in rows if table.place(row) not in positions]
        self.letters += letters
        self.resolved = [key for key in self.resolved if key not in keys]


def gather(
    batch: Batch, *, refused: Collection[UUID] = (), let_in: Collection[Position] = ()
) -> Gathered:
    """The rows of a batch.

    A repeated event takes effect only if it had been refused before: its key is among
    ``refused``, or its position among ``let_in``, where that was decided in an earlier attempt.
    """
    gathered = Gathered()
    if not batch.events:
        return gathered
    open_keys = set(refused)
    duplicates = batch.duplicates
    rows = gathered.rows
    of_events = rows[EVENTS] = []
    size = 0
    for event in batch.events:
        size += len(event.raw)
        repeated = bool(duplicates) and event.position.offset in duplicates
        of_events.append(event_row(event, not repeated))
        if repeated and event.key not in open_keys and event.position not in let_in:
            continue
        try:
            typed = typed_rows(event)
        except Exception as bug:  # noqa: BLE001 - one event must not stop the line
            known = isinstance(bug, Refused)
            reason = str(bug) if known else f"{type(bug).__name__}: {bug}"
            gathered.letters.append(letter_of(event, batch, reason))
            open_keys.add(event.key)
            continue
        if repeated:
            open_keys.discard(event.key)
            gathered.let_in.append(event.position)
            gathered.resolved.append(event.key)
        for table, values in typed:
            if table in rows:
                rows[table].append(values)
            else:
                rows[table] = [values]
    gathered.bytes = size
    return gathered


def letter_of(event: Event, batch: Batch, reason: str) -> DeadLetter:
    """The event as a dead letter of this projection."""
    return DeadLetter(
        projection=ANALYTICS,
        position=event.position,
        reason=reason,
        record=batch.record_at(event.position.offset),
        event_key=event.key,
        event_id=event.id,
        user_id=event.user_id,
    )


def letters_at(reasons: dict[Position, str], batches: Iterable[Batch]) -> list[DeadLetter]:
    """Dead letters of the events at these positions."""
    return [
        letter_of(event, batch, reasons[event.position])
        for batch in batches
        for event in batch.events
        if event.position in reasons
    ]


def from_offset(batch: Batch, start: int) -> Batch:
    """The part of a batch from an offset on."""
    if not batch.events or batch.events[0].position.offset >= start:
        return replace(batch, start=start)
    events = [event for event in batch.events if event.position.offset >= start]
    return replace(batch, start=start, events=events)

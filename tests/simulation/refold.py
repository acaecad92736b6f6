"""The log folded once more in the plainest way: one event after the other, rows in dictionaries.

Nothing of the projector, its caches, batches and stores is used: only the folds. What is a
repetition is taken from the first positions, which are checked against the log by themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn
from uuid import UUID

import msgspec

from projections.analytics.append import AppendTable, Values
from projections.analytics.fold import event_row, typed_rows
from projections.analytics.tables import EVENTS, TABLES
from projections.batch import Partition
from projections.projection import Projection
from projections.rows import Refused
from projections.tables import Key, Row, Table
from schemas.codec import Unreadable, decode_batch
from schemas.envelope import Draft, Event
from schemas.position import Position
from tests.simulation.log import Log

COMMANDS = "app.commands"


class PlainRows:
    """What a fold uses of ``Rows``, over dictionaries that hold everything."""

    def __init__(self) -> None:
        self.tables: dict[Table[Any], dict[Key, Row]] = {}
        self.emitted: list[Draft] = []
        self._written: dict[Table[Any], dict[Key, Row | None]] = {}

    def get(self, table: Table[Any], *key: Any) -> Any:
        written = self._written.get(table, {})
        return written[key] if key in written else self.tables.get(table, {}).get(key)

    def find(self, table: Table[Any], *prefix: Any) -> list[Any]:
        return self.range(table, prefix, None, None)

    def range(self, table: Table[Any], prefix: Key, low: Any, high: Any) -> list[Any]:
        depth = len(prefix)
        rows = self.tables.get(table, {}) | self._written.get(table, {})
        return [
            rows[key]
            for key in sorted(rows)
            if rows[key] is not None
            and key[:depth] == prefix
            and (low is None or key[depth] >= low)
            and (high is None or key[depth] <= high)
        ]

    def put(self, table: Table[Any], row: Any) -> None:
        self._written.setdefault(table, {})[table.key_of(row)] = row

    def delete(self, table: Table[Any], *key: Any) -> None:
        self._written.setdefault(table, {})[key] = None

    def emit(self, draft: Draft) -> None:
        self.emitted.append(draft)

    def timer(self, *_what: Any) -> None:
        """Timers are seen in the log, where they fired."""

    def cancel(self, *_what: Any) -> None:
        """As above."""

    def refuse(self, path: str, message: str) -> NoReturn:
        raise Refused(path, message)

    def is_refused_by_postgres(self) -> bool:
        return any(
            b"\\u0000" in msgspec.json.encode(row)
            for rows in self._written.values()
            for row in rows.values()
        )

    def end(self, keep: bool) -> list[Draft]:
        """The end of an event: keep what it wrote or forget it; returns what it derived."""
        emitted, self.emitted = self.emitted, []
        written, self._written = self._written, {}
        if not keep:
            return []
        for table, rows in written.items():
            kept = self.tables.setdefault(table, {})
            for key, row in rows.items():
                if row is None:
                    kept.pop(key, None)
                else:
                    kept[key] = row
        return emitted


@dataclass
class Folded:
    """What a projection must have come to: rows, derived events with their causes, refusals."""

    tables: dict[str, list[Any]] = field(default_factory=dict)
    derived: dict[str, tuple[Draft, Position]] = field(default_factory=dict)
    refused: set[Position] = field(default_factory=set)


class Readings:
    """What somebody reads of the log, decoded once, and where nobody can."""

    def __init__(self, log: Log, topics: Collection[str]) -> None:
        self.events: dict[Partition, list[Event]] = {}
        self.unreadable: set[Position] = set()
        for place in log.places():
            if place.topic not in topics:
                continue
            decoded = decode_batch(log.records[place], partitions=log.counts)
            self.events[place] = [item for item in decoded if isinstance(item, Event)]
            self.unreadable |= {item.position for item in decoded if isinstance(item, Unreadable)}

    def of(self, topics: Sequence[str]) -> Iterator[Event]:
        """Events of these topics, commands first, partition by partition."""
        for place in sorted(self.events, key=lambda place: (place.topic != COMMANDS, place)):
            if place.topic in topics:
                yield from self.events[place]


def refold(projection: Projection, readings: Readings, first: Mapping[UUID, Position]) -> Folded:
    """One event at a time; a repeated one only if its id was refused and not used up since."""
    rows, folded, open_keys = PlainRows(), Folded(), set[UUID]()
    for event in readings.of(projection.topics):
        if event.type not in projection.types:
            continue
        if first[event.key] != event.position and event.key not in open_keys:
            continue
        try:
            projection.fold(rows, event)  # type: ignore[arg-type]
            applied = not rows.is_refused_by_postgres()
        except Exception:  # noqa: BLE001 - a fold may raise anything: the event is a dead letter
            applied = False
        for draft in rows.end(keep=applied):
            folded.derived[draft.id] = (draft, event.position)
        if applied:
            open_keys.discard(event.key)
        else:
            open_keys.add(event.key)
            folded.refused.add(event.position)
    folded.tables = {
        table.name: sorted(rows.tables.get(table, {}).values(), key=table.key_of)
        for table in projection.tables
    }
    return folded


def rows_for_analysts(
    readings: Readings, first: Mapping[UUID, Position]
) -> dict[AppendTable, list[Values]]:
    """The rows of each append table, in the order of the log."""
    tables: dict[AppendTable, list[Values]] = {table: [] for table in TABLES}
    for place in sorted(readings.events):
        for event in readings.events[place]:
            is_first = first[event.key] == event.position
            tables[EVENTS].append(event_row(event, is_first))
            if is_first:
                for table, values in typed_rows(event):
                    tables[table].append(values)
    return tables

"""The working set of a lane: what a fold reads and where it leaves its changes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, NoReturn, TypeVar

import msgspec.structs

from projections.columnar import rows_of
from projections.tables import Key, Row, Table, Want
from schemas.envelope import Draft
from schemas.numbers import EXACT

R = TypeVar("R", bound=Row)

#: Load units kept between batches. A unit is one person's rows of one table, some hundred bytes
#: to some kilobytes, so that a lane stays within some hundred megabytes.
CACHED_UNITS_MAX = 100_000


class NotLoaded(Exception):
    """A fold read rows that are not in memory; the projector loads them and folds again."""

    def __init__(self, want: Want) -> None:
        if want.table.written_only:
            raise TypeError(f"{want.table.name} is written only: no fold may read it")
        super().__init__(f"{want.table.name} {want.prefix}")
        self.want = want


class Refused(Exception):
    """A fold can't apply an event: it becomes a dead letter of this projection."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)


@dataclass(frozen=True)
class Timer:
    """A row with a due time; when it is due the scheduler appends ``app.timer.fired``.

    ``due`` None cancels the timer of that name.
    """

    timer: str
    user_id: str
    due: datetime | None
    payload: dict[str, Any]


@dataclass
class Changes:
    """What a batch does to the store, beside moving the checkpoint."""

    rows: dict[Table[Any], dict[Key, Row | None]] = field(default_factory=dict)
    derived: list[Draft] = field(default_factory=list)
    timers: dict[tuple[str, str], Timer] = field(default_factory=dict)
    #: What is added to the sums of a table, by key.
    sums: dict[Table[Any], dict[Key, Row]] = field(default_factory=dict)
    #: New rows of tables that are appended.
    appended: dict[Table[Any], list[Row]] = field(default_factory=dict)
    #: Rows as Arrow tables, with a column for each one of the table: put, added or appended as the
    #: table is, one part after the other. What is put or added comes here or above, never both.
    columns: dict[Table[Any], list[Any]] = field(default_factory=dict)

    def is_mixed(self) -> bool:
        """Whether a table has come in both forms."""
        return any(table in self.rows or table in self.sums for table in self.columns)

    def unfold(self) -> None:
        """Have row by row what is put or added by columns; it comes after what is so already."""
        for table in [table for table in self.columns if not table.appended]:
            for part in self.columns.pop(table):
                for row in rows_of(table, part):
                    if table.sums:
                        add_up(table, self.sums.setdefault(table, {}), row)
                    else:
                        self.rows.setdefault(table, {})[table.key_of(row)] = row


class _Unit:
    """Rows loaded together, and which ranges of their keys are known completely."""

    __slots__ = ("_order", "ranges", "rows", "whole")

    def __init__(self) -> None:
        self.rows: dict[Key, Row] = {}
        self.whole = False
        self.ranges: list[Want] = []
        self._order: list[Key] | None = None

    def covers(self, want: Want) -> bool:
        if self.whole:
            return True
        return any(_covers(loaded, want) for loaded in self.ranges)

    def all(self) -> list[Row]:
        """Every row of a unit that is whole, in the order of their keys."""
        if not self.rows:
            return []
        if self._order is None:
            self._order = sorted(self.rows)
        return [self.rows[key] for key in self._order]

    def add(self, key: Key, row: Row) -> None:
        if key not in self.rows:
            self._order = None
        self.rows[key] = row

    def remove(self, key: Key) -> None:
        if self.rows.pop(key, None) is not None:
            self._order = None

    def keys(self, want: Want) -> list[Key]:
        """The keys that ``want`` asks for, in order, without looking at all the others."""
        if self._order is None:
            self._order = sorted(self.rows)
        order = self._order
        if len(want.prefix) == want.table.unit and not want.is_range:
            return order
        first = want.prefix if want.low is None else (*want.prefix, want.low)
        start = end = bisect_left(order, first)
        while end < len(order) and _matches(order[end], want):
            end += 1
        return order[start:end]


def add_up(table: Table[Any], rows: dict[Key, Row], row: Row) -> None:
    """Add a row's sums to those of the row with its key, be it there or not."""
    key = table.key_of(row)
    before = rows.get(key)
    if before is not None:
        sums = {name: _sum(getattr(before, name), getattr(row, name)) for name in table.sums}
        row = msgspec.structs.replace(before, **sums)
    rows[key] = row


def _sum(one: Any, other: Any) -> Any:
    return EXACT.add(one, other) if isinstance(one, Decimal) else one + other


def _matches(key: Key, want: Want) -> bool:
    depth = len(want.prefix)
    return (
        key[:depth] == want.prefix
        and (want.low is None or key[depth] >= want.low)
        and (want.high is None or key[depth] <= want.high)
    )


def _covers(loaded: Want, want: Want) -> bool:
    if loaded.prefix != want.prefix:
        return not loaded.is_range and want.prefix[: len(loaded.prefix)] == loaded.prefix
    if not loaded.is_range:
        return True
    low = loaded.low is None or (want.low is not None and loaded.low <= want.low)
    high = loaded.high is None or (want.high is not None and want.high <= loaded.high)
    return low and high


class Rows:
    """Rows by key, with the changes of the batch and of the event in hand kept apart.

    What an event writes is staged until ``accept``; ``discard`` forgets it, so that a refused
    event leaves nothing behind.
    """

    def __init__(self) -> None:
        self._units: dict[tuple[Table[Any], Key], _Unit] = {}
        self._units_of_batch: dict[tuple[Table[Any], Key], _Unit] = {}
        self._staged: dict[Table[Any], dict[Key, Row | None]] = {}
        self._staged_derived: list[Draft] = []
        self._staged_timers: dict[tuple[str, str], Timer] = {}
        self._staged_sums: list[tuple[Table[Any], Row]] = []
        self._staged_appended: list[tuple[Table[Any], Row]] = []
        self._staged_columns: list[tuple[Table[Any], Any]] = []
        self.changes = Changes()

    # What folds use ------------------------------------------------------------------------

    def get(self, table: Table[R], *key: Any) -> R | None:
        """The row with this key, or None."""
        staged = self._staged.get(table)
        if staged is not None and key in staged:
            return staged[key]  # type: ignore[return-value]
        units = self._units if table.cached else self._units_of_batch
        unit = units.get((table, key[: table.unit]))
        if unit is None:
            raise NotLoaded(Want(table, key[: table.unit]))
        row = unit.rows.get(key)
        if row is None and not unit.whole and not unit.covers(Want(table, key)):
            raise NotLoaded(Want(table, key))
        return row  # type: ignore[return-value]

    def find(self, table: Table[R], *prefix: Any) -> list[R]:
        """All rows whose key begins with ``prefix``, in the order of their keys."""
        if len(prefix) == table.unit and table not in self._staged:
            units = self._units if table.cached else self._units_of_batch
            unit = units.get((table, prefix))
            if unit is not None and unit.whole:
                return unit.all()  # type: ignore[return-value]
        return self._matching(Want(table, prefix))

    def range(self, table: Table[R], prefix: Key, low: Any, high: Any) -> list[R]:
        """Rows under ``prefix`` whose next key column is from ``low`` to ``high``, in order.

        Both bounds are included; None leaves a side open.
        """
        return self._matching(Want(table, prefix, low, high))

    def put(self, table: Table[R], row: R) -> None:
        """Write a row: insert it, or replace the one with its key."""
        staged = self._staged.get(table)
        if staged is None:
            staged = self._staged[table] = {}
        staged[table.key_of(row)] = row

    def delete(self, table: Table[R], *key: Any) -> None:
        self._staged.setdefault(table, {})[key] = None

    def add(self, table: Table[R], row: R) -> None:
        """Add to the sums of the row with this key; one that is not there begins at zero."""
        self._staged_sums.append((table, row))

    def append(self, table: Table[R], row: R) -> None:
        """Write a row whose key nobody has written before."""
        self._staged_appended.append((table, row))

    def write(self, table: Table[Any], columns: Any) -> None:
        """Put, add or append, as the table is, all rows of an Arrow table.

        It has the table's columns in their order, and each key once.
        """
        self._staged_columns.append((table, columns))

    def emit(self, draft: Draft) -> None:
        """Derive an event; its id must be a function of its cause (``derived_id``)."""
        self._staged_derived.append(draft)

    def timer(self, timer: str, user_id: str, due: datetime, payload: dict[str, Any]) -> None:
        """Set or move the timer of this name and person."""
        self._staged_timers[user_id, timer] = Timer(timer, user_id, due, payload)

    def cancel(self, timer: str, user_id: str) -> None:
        self._staged_timers[user_id, timer] = Timer(timer, user_id, None, {})

    def refuse(self, path: str, message: str) -> NoReturn:
        """Make the event in hand a dead letter of this projection.

        Raises:
            Refused: always.
        """
        raise Refused(path, message)

    # What the projector uses ---------------------------------------------------------------

    def missing(self, wants: Iterable[Want]) -> list[Want]:
        """Those of ``wants`` that are not in memory, without repetition."""
        cached, of_batch = self._units, self._units_of_batch
        missing = []
        for want in dict.fromkeys(wants):
            table, prefix, _, _ = want
            unit = (cached if table.cached else of_batch).get((table, prefix[: table.unit]))
            if unit is None or not (unit.whole or unit.covers(want)):
                missing.append(want)
        return missing

    def load(self, want: Want, rows: Sequence[Row]) -> None:
        """Take in what the store returned for ``want``; changed rows stay as they are."""
        table, prefix, low, high = want
        unit = self._unit(table, prefix)
        if rows:
            changed = self.changes.rows.get(table, {})
            for row in rows:
                key = table.key_of(row)
                if key not in changed and key not in unit.rows:
                    unit.add(key, row)
        if low is None and high is None and len(prefix) == table.unit:
            unit.whole = True
            unit.ranges.clear()
        else:
            unit.ranges.append(want)

    def accept(self) -> None:
        """Make the event's changes part of the batch."""
        changes = self.changes
        for table, staged in self._staged.items():
            units = self._units if table.cached else self._units_of_batch
            for key, row in staged.items():
                unit = units.get((table, key[: table.unit])) or self._unit(table, key)
                if row is None:
                    unit.remove(key)
                else:
                    unit.add(key, row)
            changed = changes.rows.get(table)
            if changed is None:
                changes.rows[table] = staged
            else:
                changed.update(staged)
        for table, row in self._staged_sums:
            add_up(table, changes.sums.setdefault(table, {}), row)
        for table, row in self._staged_appended:
            changes.appended.setdefault(table, []).append(row)
        if self._staged_columns:
            self._accept_columns()
        if self._staged_derived:
            changes.derived.extend(self._staged_derived)
        if self._staged_timers:
            changes.timers.update(self._staged_timers)
        self.discard()

    def unfold(self) -> None:
        """Have row by row what this batch writes by columns, for events that come one by one."""
        if self.changes.columns:
            put = [table for table in self.changes.columns if not table.written_only]
            self.changes.unfold()
            for table in put:
                for key, row in self.changes.rows[table].items():
                    if row is not None:
                        self._unit(table, key).add(key, row)

    def discard(self) -> None:
        """Forget what the event in hand did."""
        if self._staged:
            self._staged = {}
        if self._staged_derived:
            self._staged_derived = []
        if self._staged_timers:
            self._staged_timers = {}
        if self._staged_sums:
            self._staged_sums = []
        if self._staged_appended:
            self._staged_appended = []
        if self._staged_columns:
            self._staged_columns = []

    def settle(self) -> None:
        """The batch is committed: its changes are the store's, and the cache is bounded."""
        self.changes = Changes()
        self._units_of_batch.clear()
        excess = len(self._units) - CACHED_UNITS_MAX
        if excess > 0:
            for unit in list(islice(self._units, excess)):
                del self._units[unit]

    def clear(self) -> None:
        """Forget everything: the batch failed, or the partition is another's now."""
        self._units.clear()
        self._units_of_batch.clear()
        self.discard()
        self.changes = Changes()

    # ---------------------------------------------------------------------------------------

    def _accept_columns(self) -> None:
        for table, columns in self._staged_columns:
            self.changes.columns.setdefault(table, []).append(columns)
            self._forget(table, columns)
        if self.changes.is_mixed():
            self.unfold()

    def _forget(self, table: Table[Any], columns: Any) -> None:
        """Rows that were loaded before these were written are no longer what is there."""
        units = self._units if table.cached else self._units_of_batch
        if units and not table.written_only:
            names = [columns[name].to_pylist() for name in table.key[: table.unit]]
            for prefix in dict.fromkeys(zip(*names, strict=True)):
                units.pop((table, prefix), None)

    def _unit(self, table: Table[Any], key: Key) -> _Unit:
        units = self._units if table.cached else self._units_of_batch
        place = (table, key[: table.unit])
        unit = units.get(place)
        if unit is None:
            unit = units[place] = _Unit()
        return unit

    def _matching(self, want: Want) -> list[Any]:
        table, prefix = want.table, want.prefix
        if len(prefix) < table.unit:
            raise ValueError(f"{table.name} is loaded by {table.key[: table.unit]}")
        units = self._units if table.cached else self._units_of_batch
        known = units.get((table, prefix[: table.unit]))
        if known is None or not known.covers(want):
            raise NotLoaded(want)
        staged = self._staged.get(table, {})
        keys = known.keys(want)
        if staged:
            keys = sorted({key for key in staged if _matches(key, want)}.union(keys))
        found = (staged[key] if key in staged else known.rows[key] for key in keys)
        return [row for row in found if row is not None]

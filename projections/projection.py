"""What a projection is: a pure fold with a name, a version, its topics and its tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from projections.rows import Rows
from projections.tables import Table, Want
from schemas.columns import Columns
from schemas.envelope import Event


class Projection(Protocol):
    """A fold that keeps rows.

    ``fold`` is pure: its result is a function of the rows it reads and of the event; it has no
    clock, no I/O and no logging. Two topics whose partitions belong to the same people share a
    lane, but what a fold writes must not depend on the order between topics.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int:
        """Raised when the fold's result changes; a rebuild then makes the new tables.

        A rebuild reads commands first, ``app.timer.fired`` among them: a fold that sets timers
        keeps which have fired, and sets none of them again.
        """

    @property
    def topics(self) -> tuple[str, ...]: ...

    @property
    def types(self) -> frozenset[str]:
        """The event types (without version) that it folds; others pass it by."""

    @property
    def tables(self) -> tuple[Table[Any], ...]: ...

    @property
    def follows_commands(self) -> bool:
        """True if a source batch waits until ``app.commands`` is read up to its end at fetch."""

    def wants(self, event: Event) -> Iterable[Want]:
        """Rows that folding this event will read, to be loaded for the whole batch at once."""

    def fold(self, rows: Rows, event: Event) -> None:
        """Apply one event.

        Raises:
            Refused: the event can't be applied; by ``rows.refuse``.
        """


@runtime_checkable
class FoldsColumns(Protocol):
    """A projection that can fold many events of one type at once, column by column.

    ``fold`` remains what the rows mean: events come one by one where they are few, repeated, or
    not plainly alike, and both ways give the same rows.
    """

    @property
    def column_types(self) -> frozenset[str]:
        """The event types, without version, that it folds so."""

    def fold_columns(self, rows: Rows, columns: Columns) -> None:
        """Apply the events of one partition, in log order, by ``rows.write``, without reading rows.

        If it raises anything, nothing of it counts, and each event is folded by itself: that one
        which can't be applied then becomes a dead letter.
        """


@runtime_checkable
class Foresees(Protocol):
    """A projection that can tell from rows what further rows a batch will read.

    It spares one question to the store for each event whose reads depend on what was read before
    (a price's old value, a rule that matches); it decides nothing.
    """

    def foresee(self, rows: Rows, events: Sequence[Event]) -> Iterable[Want]:
        """Rows that folding these events will read, now that what they want is in memory."""


def columnar_topics(projections: Iterable[Projection]) -> frozenset[str]:
    """The topics that some of them can fold column by column."""
    found = [each.topics for each in projections if isinstance(each, FoldsColumns)]
    return frozenset(topic for topics in found for topic in topics)

"""Appending what a rebuild replays to the new tables."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from projections.analytics.appender import Analytics
from projections.batch import Batch, Partition
from projections.rebuild import Positions


class Appending:
    """The append projection on all partitions, as long as the block lasts."""

    def __init__(self, analytics: Analytics, places: Sequence[Partition]) -> None:
        self._analytics = analytics
        self._places = places
        self._reached: dict[Partition, int] = {}

    async def __aenter__(self) -> Appending:
        """Take the partitions of the new tables; flushes left open are finished first."""
        self._reached = dict(await self._analytics.take(self._places))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._analytics.abandon()

    def reached(self) -> Positions:
        """Where the new tables stand, or will when what waits is flushed."""
        return self._reached

    async def give(self, batch: Batch) -> None:
        """Append a batch; returns when there is room for more."""
        await self._analytics.append(batch)
        self._reached[batch.place] = max(batch.end, self._reached[batch.place])

    async def drained(self) -> None:
        """Return when everything that was given is in the new tables."""
        await self._analytics.drained()

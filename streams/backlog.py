"""How much of what was fetched is not yet applied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from projections.batch import Partition

#: Records of one partition handed over and not yet applied, and of all partitions together: the
#: memory of a worker that is behind.
OUTSTANDING_RECORDS_MAX = 20_000
OUTSTANDING_RECORDS_TOTAL_MAX = 100_000


class Backlog:
    """Counts what has been handed over and not yet released, so that fetching can wait."""

    def __init__(self) -> None:
        self._outstanding: dict[Partition, int] = {}
        self._total = 0
        self._room = asyncio.Event()

    def has_room(self, place: Partition) -> bool:
        return (
            self._total < OUTSTANDING_RECORDS_TOTAL_MAX
            and self._outstanding.get(place, 0) < OUTSTANDING_RECORDS_MAX
        )

    def claim(self, place: Partition, count: int, claims: int) -> Callable[[], None]:
        """Count ``count`` records until the returned function was called ``claims`` times."""
        left = claims
        if left == 0:
            return lambda: None
        self._outstanding[place] = self._outstanding.get(place, 0) + count
        self._total += count

        def release() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self._outstanding[place] -= count
                self._total -= count
                self._room.set()

        return release

    async def room(self, seconds: float) -> None:
        """Wait until something was released, but not longer than ``seconds``."""
        self._room.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._room.wait()
        except TimeoutError:
            return

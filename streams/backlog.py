"""How much of what was fetched is not yet applied."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from projections.batch import Partition
from projections.lane import COMMANDS

#: Records of one partition handed over and not yet applied, and of all partitions together, of
#: commands and of everything else each: the memory of a worker that is behind.
OUTSTANDING_RECORDS_MAX = 20_000
OUTSTANDING_RECORDS_TOTAL_MAX = 100_000


class Backlog:
    """Counts what has been handed over and not yet released, so that fetching can wait.

    Commands count apart: events wait for commands that lie before them, and if what waits had
    taken all the room there is, the commands would never be fetched.
    """

    def __init__(self) -> None:
        self._outstanding: dict[Partition, int] = {}
        #: Of commands (True) and of everything else.
        self._totals = {True: 0, False: 0}
        self._room = asyncio.Event()
        #: When there was no room last, by the monotonic clock.
        self._refused: dict[Partition, float] = {}

    def has_room(self, place: Partition) -> bool:
        return (
            self._totals[place.topic == COMMANDS] < OUTSTANDING_RECORDS_TOTAL_MAX
            and self._outstanding.get(place, 0) < OUTSTANDING_RECORDS_MAX
        )

    def asks_room(self, place: Partition) -> bool:
        """Whether it has room, as `has_room`; that it has none is remembered."""
        if self.has_room(place):
            return True
        self._refused[place] = time.monotonic()
        return False

    def had_room(self, place: Partition, seconds: float) -> bool:
        """Whether it was never refused in the last ``seconds``."""
        refused = self._refused.get(place)
        return refused is None or time.monotonic() - refused > seconds

    def claim(self, place: Partition, count: int, claims: int) -> Callable[[], None]:
        """Count ``count`` records until the returned function was called ``claims`` times."""
        left = claims
        if left == 0:
            return lambda: None
        is_command = place.topic == COMMANDS
        self._outstanding[place] = self._outstanding.get(place, 0) + count
        self._totals[is_command] += count

        def release() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self._outstanding[place] -= count
                self._totals[is_command] -= count
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

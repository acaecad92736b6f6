"""Waiting until a projection has reached a position: for reads of one's own writes, and for folds
that need the commands of other partitions."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg

from projections.backoff import Report, until_available
from projections.batch import Partition
from projections.postgres.pool import CONNECT_SECONDS_MAX, Pool, acquire, translated
from projections.postgres.store import ANEW, PROGRESS_CHANNEL
from schemas.position import PositionToken

_ALL = "select projection, topic, partition, next_offset from checkpoints"

logger = logging.getLogger(__name__)


class NotReached(Exception):
    """The projection has not come so far within the time given; try again."""


class Progress:
    """What the checkpoints say, kept current by notices instead of by asking."""

    def __init__(self) -> None:
        self._offsets: dict[str, dict[tuple[str, int], int]] = {}
        self._moved = asyncio.Condition()

    def positions(self, projection: str) -> PositionToken:
        """What reads of this projection reflect."""
        return PositionToken(self._offsets.get(projection, {}))

    def all_positions(self) -> dict[str, dict[tuple[str, int], int]]:
        """The next offsets of every projection."""
        return {name: dict(offsets) for name, offsets in self._offsets.items()}

    def lacks(self, projection: str, wanted: Mapping[Any, int]) -> bool:
        offsets = self._offsets.get(projection, {})
        return any(offsets.get(place, 0) < end for place, end in wanted.items())

    async def reached(
        self, projection: str, wanted: Mapping[Any, int], timeout: float | None = None
    ) -> None:
        """Return once the projection stands at or beyond every wanted offset.

        Args:
            projection: its name.
            wanted: next offset by (topic, partition).
            timeout: seconds; None waits for ever.

        Raises:
            NotReached: the time is up.
        """
        if not self.lacks(projection, wanted):
            return
        try:
            async with asyncio.timeout(timeout), self._moved:
                await self._moved.wait_for(lambda: not self.lacks(projection, wanted))
        except TimeoutError:
            raise NotReached(f"{projection} has not reached the position yet") from None

    async def _set(self, moves: list[tuple[str, Partition, int]], *, anew: bool = False) -> None:
        async with self._moved:
            if anew:
                self._offsets.clear()
            for projection, place, offset in moves:
                offsets = self._offsets.setdefault(projection, {})
                offsets[place] = max(offset, offsets.get(place, 0))
            self._moved.notify_all()

    async def follow(self, url: str, report: Report | None = None) -> None:
        """Listen until cancelled; a lost connection is made again and the table read anew."""
        while True:
            lost = asyncio.Event()
            connection = await until_available(
                "progress", partial(self._listen, url, lost), report=report
            )
            try:
                await lost.wait()
                logger.warning("the connection that follows the checkpoints was lost")
            finally:
                connection.terminate()

    async def _listen(self, url: str, lost: asyncio.Event) -> Any:
        async with translated():
            connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS_MAX)
            connection.add_termination_listener(lambda _: lost.set())
            tasks: set[asyncio.Task[None]] = set()
            heard: list[tuple[str, Partition, int]] | None = []

            def notice(_connection: object, _pid: int, _channel: str, payload: str) -> None:
                if payload == ANEW:
                    lost.set()
                    return
                projection, told = json.loads(payload)
                moves = [(projection, Partition(t, p), end) for t, p, end in told]
                if heard is not None:
                    heard.extend(moves)
                    return
                task = asyncio.ensure_future(self._set(moves))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

            await connection.add_listener(PROGRESS_CHANNEL, notice)
            rows = await connection.fetch(_ALL)
        meanwhile, heard = heard or [], None
        stands = [(r[0], Partition(r[1], r[2]), r[3]) for r in rows]
        # Not only forward: the checkpoints may be of another log than before.
        await self._set([*stands, *meanwhile], anew=True)
        return connection


async def checkpoints(pool: Pool) -> dict[str, dict[Partition, int]]:
    """The next offsets of every projection, as the database has them now.

    Raises:
        Unavailable: it does not answer.
    """
    found: dict[str, dict[Partition, int]] = {}
    async with acquire(pool) as connection:
        for name, topic, partition, offset in await connection.fetch(_ALL):
            found.setdefault(name, {})[Partition(topic, partition)] = offset
    return found


@asynccontextmanager
async def following(url: str, report: Report | None = None) -> AsyncIterator[Progress]:
    """A ``Progress`` that is current for as long as the block lasts."""
    progress = Progress()
    task = asyncio.create_task(progress.follow(url, report), name="progress")
    try:
        yield progress
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

"""How far the projections are, seen all the while from outside: checkpoints, log ends, outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg
import httpx

from projections.analytics.appender import TOPICS as ANALYTICS_TOPICS
from projections.analytics.gather import ANALYTICS
from projections.catalog import row_projections
from streams.topics import BrokerSilent, log_ends
from tests.faults.parts import Broken, Target

#: Between two looks, and how long one question may take, in seconds.
LOOK_SECONDS = 0.25
ANSWER_SECONDS_MAX = 5.0

#: Nothing of what is awaited moves for so long, with no fault under way: the system stands still.
STANDSTILL_SECONDS_MAX = 30.0

Place = tuple[str, str, int]
"""Projection, topic, partition."""

_LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


@dataclass(frozen=True)
class Mark:
    """A moment of the log: what must be behind the system for it to have recovered."""

    ends: Mapping[tuple[str, int], int]
    #: The last outbox row that was owed.
    owed: int


@dataclass(frozen=True)
class Look:
    """What Postgres says."""

    checkpoints: Mapping[Place, int]
    #: The first and the last row of the outbox; None when nothing is owed.
    owed_first: int | None
    owed_last: int | None


class Progress:
    """Looks at the system while it runs."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection: asyncpg.Connection | None = None
        self._lock = asyncio.Lock()
        self._reads = {
            **{projection.name: projection.topics for projection in row_projections()},
            ANALYTICS: ANALYTICS_TOPICS,
        }

    async def mark(self) -> Mark:
        """The log as it is now, as soon as broker and database answer."""
        while True:
            look = await self._look()
            ends = await self._ends()
            if look is not None and ends is not None:
                return Mark(ends, look.owed_last or 0)
            await asyncio.sleep(LOOK_SECONDS)

    async def passed(self, mark: Mark) -> None:
        """Return when every projection, the relay and the gateway are past the mark.

        Raises:
            Broken: nothing of what is behind has moved for `STANDSTILL_SECONDS_MAX`.
        """
        loop = asyncio.get_running_loop()
        behind: dict[str, int] = {}
        moved = loop.time()
        while now_behind := await self._behind(mark):
            if now_behind != behind:
                behind, moved = now_behind, loop.time()
            if loop.time() - moved > STANDSTILL_SECONDS_MAX:
                raise Broken(_standstill(behind))
            await asyncio.sleep(LOOK_SECONDS)

    async def rest(self) -> None:
        """Return when nothing is left to do: every checkpoint at the log's end, nothing owed.

        Nothing else may send meanwhile. Raises Broken as `passed` does.
        """
        while True:
            mark = await self.mark()
            await self.passed(mark)
            # What the relay has published for the last rows lengthens the log.
            look, ends = await self._look(), await self._ends()
            if look is not None and look.owed_last is None and ends == mark.ends:
                return

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.terminate()

    async def _behind(self, mark: Mark) -> dict[str, int]:
        """What is not past the mark yet, each with the number at which it stands."""
        look = await self._look()
        if look is None:
            return {"Postgres does not answer": 0}
        behind = {
            f"{name} on {topic}/{partition}, which ends at {end}": at
            for (topic, partition), end in mark.ends.items()
            for name, topics in self._reads.items()
            if topic in topics and end > (at := look.checkpoints.get((name, topic, partition), 0))
        }
        if look.owed_first is not None and look.owed_first <= mark.owed:
            behind[f"the outbox up to {mark.owed}"] = look.owed_first
        if not await self._gateway_answers():
            behind["the gateway does not answer"] = 0
        return behind

    async def _look(self) -> Look | None:
        async with self._lock:
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    if self._connection is None:
                        self._connection = await asyncpg.connect(self._target.postgres)
                    rows = await self._connection.fetch(
                        "select projection, topic, partition, next_offset from checkpoints"
                    )
                    owed = await self._connection.fetchrow(
                        "select min(seq) as first, max(seq) as last from outbox"
                    )
            except _LOST:
                if self._connection is not None:
                    self._connection.terminate()
                self._connection = None
                return None
        checkpoints = {(row[0], row[1], row[2]): row[3] for row in rows}
        return Look(checkpoints, owed["first"], owed["last"])

    async def _ends(self) -> dict[tuple[str, int], int] | None:
        try:
            return await asyncio.to_thread(log_ends, self._target.kafka)
        except BrokerSilent:
            return None

    async def _gateway_answers(self) -> bool:
        try:
            async with httpx.AsyncClient(timeout=ANSWER_SECONDS_MAX) as client:
                answer = await client.get(f"{self._target.gateway()}/ready")
        except httpx.TransportError:
            return False
        return answer.status_code == 200


def _standstill(behind: Mapping[str, int]) -> str:
    lines = [f"  {what}: stands at {at}" for what, at in sorted(behind.items())]
    return f"no progress for {STANDSTILL_SECONDS_MAX:.0f} s:\n" + "\n".join(lines)

"""Which parts behind the gateway answer, and why not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from gateway.parts import Parts
from projections.clickhouse.client import translated as clickhouse_translated
from projections.postgres.pool import acquire
from projections.store import Unavailable

#: A part that takes longer than this to say something is as good as down.
CHECK_SECONDS_MAX = 2.0

#: Answers are shared for so long: probes come from many sides and must cost the parts little.
KEPT_SECONDS = 1.0

#: Part -> why it is down, or None if it is up.
State = Mapping[str, str | None]


class Health:
    """Asks the parts, at most once a second, and never a part that still owes an answer."""

    def __init__(self) -> None:
        self._state: State = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self._owed: dict[str, asyncio.Task[str | None]] = {}

    async def state(self, parts: Parts) -> State:
        """What is up and what is down."""
        async with self._asking:
            if time.monotonic() - self._asked_at > KEPT_SECONDS:
                self._state = await self._ask(parts)
                self._asked_at = time.monotonic()
        return self._state

    async def _ask(self, parts: Parts) -> State:
        for name, check in _CHECKS.items():
            if name not in self._owed:
                self._owed[name] = asyncio.create_task(_why_down(check(parts)), name=name)
        # A question that hangs is not taken back: that can hang as well. It is waited for again
        # by who asks next.
        await asyncio.wait(self._owed.values(), timeout=CHECK_SECONDS_MAX)
        late = f"does not answer within {CHECK_SECONDS_MAX:g} seconds"
        state = {name: task.result() if task.done() else late for name, task in self._owed.items()}
        self._owed = {name: task for name, task in self._owed.items() if not task.done()}
        return state


async def _why_down(check: Awaitable[None]) -> str | None:
    try:
        await check
    except Unavailable as error:
        return str(error)
    return None


async def _kafka(parts: Parts) -> None:
    if parts.hub.down is not None:
        raise Unavailable(parts.hub.down)
    await parts.ends.ends(parts.hub.places[:1])


async def _postgres(parts: Parts) -> None:
    async with acquire(parts.pool) as connection:
        await connection.execute("select 1")


async def _clickhouse(parts: Parts) -> None:
    async with clickhouse_translated():
        await parts.clickhouse.command("select 1")


_CHECKS: Mapping[str, Callable[[Parts], Awaitable[None]]] = {
    "kafka": _kafka,
    "postgres": _postgres,
    "clickhouse": _clickhouse,
}

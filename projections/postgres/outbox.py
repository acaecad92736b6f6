"""What is owed to the log: derived events, dead letters, and timers that are due."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from projections.postgres import queries
from projections.postgres.pool import CONNECT_SECONDS_MAX, STATEMENT_SECONDS_MAX, translated
from projections.postgres.store import OUTBOX_CHANNEL
from schemas.codec import encode
from schemas.envelope import CONTENT_TYPE, Draft, derived_id, key_of, topic_of

_sql = queries.load("projections.postgres", "outbox.sql")

#: One key for all relays of an installation: one publishes, the others stand by.
_LEADER_KEY = 0x72_65_6C_61_79

TIMER_SOURCE = "/streams/scheduler"


class Owed(NamedTuple):
    """One record to publish, in the order of ``seq``."""

    seq: int
    identity: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Outbox:
    """The outbox as its one leader sees it; all on the connection that holds the leadership."""

    def __init__(self, connection: Any, woken: asyncio.Event) -> None:
        self._connection = connection
        self._woken = woken

    async def pending(self, limit: int) -> list[Owed]:
        """The oldest records that are owed."""
        async with translated():
            rows = await self._connection.fetch(_sql["pending"], limit)
        return [
            Owed(
                row["seq"],
                row["identity"],
                row["topic"],
                row["key"],
                row["value"],
                list(zip(row["header_names"], row["header_values"], strict=True)),
            )
            for row in rows
        ]

    async def settle(self, seqs: Sequence[int]) -> None:
        """These records are in the log."""
        async with translated():
            await self._connection.execute(_sql["settle"], list(seqs))

    async def topics(self) -> set[str]:
        """The topics that something is owed to."""
        async with translated():
            rows = await self._connection.fetch(_sql["topics"])
        return {row["topic"] for row in rows}

    async def settle_published(self, published: set[tuple[str, str]]) -> int:
        """Those (topic, identity) are in the log, whatever their seq; returns how many."""
        names = sorted(published)
        async with translated():
            status: str = await self._connection.execute(
                _sql["settle_published"],
                [topic for topic, _ in names],
                [identity for _, identity in names],
            )
        return int(status.removeprefix("DELETE "))

    async def fire_timers(self, now: datetime, limit: int) -> int:
        """Turn timers that are due into events that are owed; returns how many."""
        async with translated(), self._connection.transaction():
            rows = await self._connection.fetch(_sql["take_due_timers"], now, limit)
            for row in rows:
                draft = _fired(row)
                await self._connection.execute(
                    _sql["owe"],
                    draft.id,
                    topic_of(draft).name,
                    key_of(draft),
                    encode(draft),
                    ["content-type"],
                    [CONTENT_TYPE.encode()],
                )
        return len(rows)

    async def next_due(self) -> datetime | None:
        """When the next timer is due."""
        async with translated():
            due: datetime | None = await self._connection.fetchval(_sql["next_due"])
        return due

    async def woken(self, seconds: float) -> None:
        """Wait until something new may be owed, but not longer than ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()


def _fired(row: Any) -> Draft:
    cause = f"{row['projection']}|{row['user_id']}|{row['timer']}|{row['due'].isoformat()}"
    return Draft(
        type="app.timer.fired.v1",
        source=TIMER_SOURCE,
        id=derived_id("scheduler", 1, cause, 0),
        subject=row["timer"],
        user_id=row["user_id"],
        time=row["due"],
        data={
            "timer": row["timer"],
            "projection": row["projection"],
            "payload": json.loads(row["payload"]),
        },
    )


@asynccontextmanager
async def leading(url: str) -> AsyncIterator[Outbox]:
    """Wait for the leadership among all relays and hold it for as long as the block lasts.

    Raises:
        Unavailable: the database went away; another may lead now.
    """
    woken = asyncio.Event()
    async with translated():
        connection = await asyncpg.connect(
            url, timeout=CONNECT_SECONDS_MAX, command_timeout=STATEMENT_SECONDS_MAX
        )
    try:
        async with translated():
            # Another leader's death frees the lock; waiting for it is what standing by means.
            await connection.execute("select pg_advisory_lock($1)", _LEADER_KEY, timeout=1 << 20)
            await connection.add_listener(OUTBOX_CHANNEL, lambda *_: woken.set())
        connection.add_termination_listener(lambda _: woken.set())
        woken.set()
        yield Outbox(connection, woken)
    finally:
        connection.terminate()

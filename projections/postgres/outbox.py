"""What is owed to the log: derived events, dead letters, and timers that are due."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg

from projections.batch import Partition
from projections.outbox import Name, Owed, fired
from projections.postgres import queries
from projections.postgres.pool import CONNECT_SECONDS_MAX, STATEMENT_SECONDS_MAX, translated
from projections.postgres.store import OUTBOX_CHANNEL, owe
from projections.rows import Timer
from schemas.codec import encode_batch

_sql = queries.load("projections.postgres", "outbox.sql")

#: Seconds of silence after which the server takes a leader for gone and lets another one lead. A
#: leader that has nothing to do looks every few seconds, and one that publishes as often.
LEADER_SILENT_SECONDS_MAX = 15

#: One key for all relays of an installation: one publishes, the others stand by.
_LEADER_KEY = 0x72_65_6C_61_79


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
                row["ahead"],
            )
            for row in rows
        ]

    async def settle(self, seqs: Sequence[int], positions: Mapping[Partition, int]) -> None:
        """These stand in the log, which is settled up to the positions; one transaction."""
        async with translated():
            await self._connection.execute(_sql["settle"], list(seqs), *_columns(positions))

    async def positions(self) -> dict[Partition, int]:
        """Up to where everything that stands in the log is settled."""
        async with translated():
            rows = await self._connection.fetch(_sql["positions"])
        return {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def found(self, names: Collection[Name], positions: Mapping[Partition, int]) -> int:
        """Settle what of these is owed, remember the rest; returns how many were settled."""
        settled = 0
        async with translated(), self._connection.transaction():
            if names:
                settled = await self._connection.fetchval(
                    _sql["settle_found"],
                    [topic for topic, _ in names],
                    [identity for _, identity in names],
                )
            await self._connection.execute(_sql["move_positions"], *_columns(positions))
        return settled

    async def fire_timers(self, now: datetime, limit: int) -> int:
        """Turn timers that are due into events that are owed; returns how many."""
        # Each round asks, and mostly none is due: a question costs less than a transaction.
        due = await self.next_due()
        if due is None or due > now:
            return 0
        async with translated(), self._connection.transaction():
            rows = await self._connection.fetch(_sql["take_due_timers"], now, limit)
            drafts = [fired(row["projection"], _timer(row)) for row in rows]
            await owe(self._connection, drafts, encode_batch(drafts))
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


def _columns(positions: Mapping[Partition, int]) -> tuple[list[str], list[int], list[int]]:
    topics = [place.topic for place in positions]
    return topics, [place.partition for place in positions], list(positions.values())


def _timer(row: Mapping[str, Any]) -> Timer:
    return Timer(row["timer"], row["user_id"], row["due"], json.loads(row["payload"]))


@asynccontextmanager
async def leading(
    url: str, standing_by: Callable[[], None] = lambda: None
) -> AsyncIterator[Outbox]:
    """Wait for the leadership among all relays and hold it for as long as the block lasts.

    Args:
        url: of the database.
        standing_by: called once the database has answered, before the wait.

    Raises:
        Unavailable: the database went away; another may lead now.
    """
    woken = asyncio.Event()
    async with translated():
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=STATEMENT_SECONDS_MAX,
            server_settings={"application_name": "streams relay", "timezone": "UTC"},
        )
    try:
        standing_by()
        async with translated():
            # Another leader's death frees the lock; waiting for it is what standing by means.
            await connection.execute("select pg_advisory_lock($1)", _LEADER_KEY, timeout=1 << 20)
            # A leader that is frozen or cut off would keep the lock for as long as its host
            # holds the connection. The log fences it when the next one leads.
            for setting in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
                await connection.execute(f"set {setting} = '{LEADER_SILENT_SECONDS_MAX}s'")
            await connection.add_listener(OUTBOX_CHANNEL, lambda *_: woken.set())
        connection.add_termination_listener(lambda _: woken.set())
        woken.set()
        yield Outbox(connection, woken)
    finally:
        connection.terminate()

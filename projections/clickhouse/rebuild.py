"""Rebuilding in ClickHouse: the new tables in a database of their own, exchanged by name.

There is no transaction over several tables, so the exchange is one statement between two marks in
PostgreSQL. While the first mark stands alone nobody writes the tables, and who reads several of
them together waits; whoever finds it after a crash finishes the exchange, because the mark names
the tables that are to serve.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from projections.analytics.append import AppendTable
from projections.backoff import Sleep
from projections.batch import Partition
from projections.clickhouse.client import Client, open_client, translated
from projections.clickhouse.migrate import migrate
from projections.postgres.pool import Pool
from projections.postgres.rebuild import Rebuilding
from projections.rebuild import Positions
from projections.store import Unavailable

#: How often, and how many seconds apart, it is tried to meet a moment without a flush, before a
#: flush that is still the same one is taken to be a dead worker's.
HOLDS_MAX = 40
HOLD_SECONDS = 0.05

#: Seconds that the exchange may take, attempts included, while commits are held.
EXCHANGE_SECONDS_MAX = 20.0

Mend = Callable[[UUID], Awaitable[None]]

logger = logging.getLogger(__name__)


class Databases:
    """Where new and old tables stand, beside the database that serves."""

    def __init__(
        self, client: Client, url: str, serving: str, tables: Sequence[AppendTable]
    ) -> None:
        self.serving = serving
        self.next = f"{serving}_rebuild"
        self.old = f"{serving}_old"
        self._client = client
        self._url = url
        self._names = [table.name for table in tables]

    @classmethod
    async def of(cls, client: Client, url: str, tables: Sequence[AppendTable]) -> Databases:
        """Of the database that the client is connected to."""
        async with translated():
            result = await client.query("select currentDatabase()")
        return cls(client, url, result.result_rows[0][0], tables)

    async def make(self) -> None:
        """New, empty tables by the same migrations; what earlier rebuilds left is dropped."""
        await self.drop_old()
        async with translated():
            await self._client.command(f"drop database if exists `{self.next}` sync")
            await self._client.command(f"create database `{self.next}`")
        async with open_client(self._url, name="streams rebuild", database=self.next) as client:
            await migrate(client)

    async def drop_old(self) -> bool:
        """Drop the tables that were replaced; False if there are none."""
        async with translated():
            found = await self._client.query(
                "select count() from system.databases where name = {name:String}",
                {"name": self.old},
            )
            await self._client.command(f"drop database if exists `{self.old}` sync")
        return bool(found.result_rows[0][0])

    async def ids(self, database: str) -> dict[str, str]:
        """What each table is, whatever it is called."""
        async with translated():
            result = await self._client.query(
                "select name, toString(uuid) from system.tables"
                " where database = {database:String} and has({names:Array(String)}, name)",
                {"database": database, "names": self._names},
            )
        return dict(result.result_rows)

    async def sizes(self) -> dict[str, tuple[int, int]]:
        """Rows and bytes of the tables by database: serving, next and old, where they are."""
        async with translated():
            result = await self._client.query(
                "select database, sum(rows), sum(bytes_on_disk) from system.parts"
                " where active and has({names:Array(String)}, table)"
                " and has({databases:Array(String)}, database) group by database",
                {"names": self._names, "databases": [self.serving, self.next, self.old]},
            )
        return {name: (int(rows), int(size)) for name, rows, size in result.result_rows}

    async def exchange(self, wanted: Mapping[str, str]) -> None:
        """Let these tables serve; those that do already are left alone."""
        serving = await self.ids(self.serving)
        pairs = [
            f"`{self.serving}`.`{name}` and `{self.next}`.`{name}`"
            for name, id in sorted(wanted.items())
            if serving.get(name) != id
        ]
        if pairs:
            async with translated():
                await self._client.command(f"exchange tables {', '.join(pairs)}")

    async def keep_old(self) -> None:
        """What was exchanged is kept under another name until it is dropped."""
        async with translated():
            found = await self._client.query(
                "select count() from system.databases where name = {name:String}",
                {"name": self.next},
            )
            if found.result_rows[0][0]:
                await self._client.command(f"rename database `{self.next}` to `{self.old}`")


class AnalyticsBeside:
    """The new tables of the append projection."""

    def __init__(
        self,
        lead: Any,
        rebuilding: Rebuilding,
        databases: Databases,
        pool: Pool,
        mend: Mend,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.serving = rebuilding.serving
        self.reached = rebuilding.reached
        self._lead = lead
        self._rebuilding = rebuilding
        self._databases = databases
        self._pool = pool
        self._mend = mend
        self._sleep = sleep

    @property
    def alive(self) -> bool:
        return not self._lead.is_closed()

    async def begin(self, restart: bool = False) -> bool:
        """Make the new tables; True if those of an interrupted rebuild go on being filled.

        Raises:
            RebuildRuns: another rebuild of this projection is under way.
        """
        goes_on = await self._rebuilding.begin((), restart)
        if not goes_on:
            await self._databases.make()
        return goes_on

    async def finish(self) -> bool:
        """Finish a swap that was interrupted; False if none was."""
        wanted = await self._rebuilding.swapping()
        if wanted is None:
            return False
        logger.warning("the swap was interrupted: it is finished first")
        async with self.held():
            await self._finish(wanted)
        return True

    async def settle(self) -> None:
        """Nothing: the tables have no statistics of their own."""

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Positions]:
        """No flush is open while commits are held: none of their rows is on its way."""
        seen: list[set[UUID]] = []
        for _ in range(HOLDS_MAX):
            async with self._rebuilding.transaction():
                rows = await self._rebuilding.hold()
                open_flushes = {row["flush"] for row in rows if row["flush"] is not None}
                if not open_flushes:
                    yield {Partition(row["topic"], row["partition"]): row[2] for row in rows}
                    return
            seen.append(open_flushes)
            await self._sleep(HOLD_SECONDS)
        for flush in set.intersection(*seen):
            await self._mend(flush)
        raise Unavailable("workers are flushing; the swap waits for a moment between")

    async def swap(self) -> None:
        # An attempt that failed after its mark may have exchanged some of the tables already.
        wanted = await self._rebuilding.swapping()
        if wanted is None:
            wanted = await self._databases.ids(self._databases.next)
            await self._rebuilding.mark_swapping(self._pool, json.dumps(wanted))
        await self._finish(wanted)

    async def _finish(self, wanted: Mapping[str, str]) -> None:
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS_MAX):
                await self._databases.exchange(wanted)
                await self._databases.keep_old()
        except TimeoutError:
            raise Unavailable("ClickHouse does not answer in the middle of the swap") from None
        async with translated():
            await self._rebuilding.take_over()

"""Rebuilding in PostgreSQL: the new tables in a schema of their own, swapped by renaming."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from projections.batch import Checkpoint, DeadLetter, Partition
from projections.postgres import queries
from projections.postgres.pool import (
    CONNECT_SECONDS_MAX,
    STATEMENT_SECONDS_MAX,
    Connection,
    Pool,
    acquire,
    translated,
)
from projections.postgres.store import PostgresStore, wake_relay, write, write_dead_letters
from projections.projection import Projection
from projections.rebuild import Positions, RebuildLost, RebuildRuns
from projections.store import Commit
from schemas.codec import RawRecord
from schemas.position import Position

_sql = queries.load("projections.postgres", "rebuild.sql")

#: Milliseconds that the swap waits for a lock while commits are held. Below PostgreSQL's own
#: deadlock_timeout (one second), so that of two who wait for each other it is the swap that
#: gives way.
LOCK_MS_MAX = 500

#: Of one table; a sample is read, but a sick disk must not keep a rebuild for ever.
ANALYZE_SECONDS_MAX = 3600.0


def schema_of(name: str) -> str:
    """Where the new tables are, and what the search path of a rebuild begins with."""
    return f"rebuild_{name}"


def old_schema_of(name: str) -> str:
    """Where the old tables are kept after the swap."""
    return f"old_{name}"


def search_path_of(name: str) -> str:
    """For the connections that fill the new tables."""
    return f"{schema_of(name)},public"


class NextStore(PostgresStore):
    """The store of the new tables; its pool has the search path of the rebuild.

    It writes what a commit says, owes nothing to the log, and tells nobody.
    """

    async def commit(self, commit: Commit) -> None:
        async with acquire(self._pool) as connection, connection.transaction():
            await write(connection, [commit], self._habits, telling=False)

    async def version(self, projection: str, version: int) -> int:
        return version

    async def regain(
        self, projection: str, held: Mapping[Partition, Checkpoint]
    ) -> Mapping[Partition, Checkpoint]:
        return {}


class Rebuilding:
    """What every rebuild has in PostgreSQL, on the connection that holds the right to it."""

    def __init__(self, lead: Connection, name: str, version: int, topics: Sequence[str]) -> None:
        self.name = name
        self.version = version
        self.topics = list(topics)
        self._lead = lead

    def sql(self, name: str) -> str:
        """A statement about the schema of this rebuild."""
        return _sql[name].replace("{schema}", schema_of(self.name))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction on the leading connection, which gives way to whoever holds a lock.

        Raises:
            Unavailable: a lock was not free in time, or the connection is lost.
        """
        async with translated(), self._lead.transaction():
            await self._lead.execute(f"set local lock_timeout = {LOCK_MS_MAX}")
            yield self._lead

    async def begin(self, tables: Sequence[str], restart: bool) -> bool:
        """Make the schema with these tables; True if it is there and can go on being filled.

        Raises:
            RebuildRuns: another one holds the right.
        """
        async with translated():
            if not await self._lead.fetchval(_sql["lock"], self.name):
                raise RebuildRuns(f"another rebuild of {self.name} is under way")
            migrations = await self._lead.fetchval(_sql["last_migration"])
            found = await self._lead.fetchrow(_sql["under_way"], self.name)
        if found and found["swapped_in"] is not None:
            return True
        mine = (self.version, migrations)
        if found and not restart and (found["version"], found["migrations"]) == mine:
            return True
        async with self.transaction() as lead:
            for schema in (schema_of(self.name), old_schema_of(self.name)):
                await lead.execute(f"drop schema if exists {schema} cascade")
            await lead.execute(f"create schema {schema_of(self.name)}")
            await lead.execute(self.sql("core"))
            for table in tables:
                for row in await lead.fetch(_sql["like_it"], schema_of(self.name), table):
                    await lead.execute(row["statement"])
            await lead.execute(_sql["record"], self.name, self.version, migrations)
        return False

    async def serving(self) -> Positions:
        """Where the serving tables stand, on the topics that the new ones are of."""
        sql = _sql["positions"].replace("{schema}", "public")
        return {p: end for p, end in (await self._positions(sql)).items() if p.topic in self.topics}

    async def reached(self) -> Positions:
        """Where the new tables stand."""
        return await self._positions(self.sql("positions"))

    async def _positions(self, sql: str) -> dict[Partition, int]:
        async with translated():
            rows = await self._lead.fetch(sql, self.name)
        return {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def swapping(self) -> dict[str, str] | None:
        """Which tables were to serve when a swap was interrupted; None if none was."""
        async with translated():
            found = await self._lead.fetchrow(_sql["under_way"], self.name)
        if found is None or found["swapped_in"] is None:
            return None
        self.version = found["version"]
        wanted: dict[str, str] = json.loads(found["swapped_in"])
        return wanted

    async def mark_swapping(self, pool: Pool, wanted: str) -> None:
        """Outside the transaction that holds: seen by all before the first table is swapped."""
        async with acquire(pool) as connection:
            await connection.execute(_sql["mark_swapping"], self.name, self.version, wanted)

    async def hold(self) -> list[Any]:
        """In a transaction: from now on commits of the serving tables wait for its end."""
        rows: list[Any] = await self._lead.fetch(_sql["hold"], self.name)
        return rows

    async def take_over(self) -> None:
        """In the transaction that holds: everything that belongs to the tables, but for them.

        Raises:
            RebuildLost: new and serving tables do not stand at the same offsets.
        """
        lead = self._lead
        differences = await lead.fetch(self.sql("differences"), self.name, self.topics)
        if differences:
            raise RebuildLost(f"{self.name}: not at the same offsets: {differences[0]}")
        await self._replace_timers()
        await self._replace_dead_letters()
        await lead.execute(_sql["drop_checkpoints"], self.name, self.topics)
        await lead.execute(_sql["hand_over"], self.name)
        await lead.execute(self.sql("new_checkpoints"), self.name, self.topics)
        await lead.execute(_sql["is_of_version"], self.name, self.version)
        await lead.execute(_sql["forget"], self.name)
        await lead.execute(f"drop schema {schema_of(self.name)} cascade")

    async def _replace_timers(self) -> None:
        # The relay fires none meanwhile, so each has either fired, and is known to have, or waits.
        await self._lead.execute("lock table public.timers in share row exclusive mode")
        await self._lead.execute(_sql["drop_timers"], self.name)
        await self._lead.execute(self.sql("new_timers"), self.name)
        await wake_relay(self._lead)

    async def _replace_dead_letters(self) -> None:
        lead = self._lead
        fresh = await lead.fetch(self.sql("fresh_dead_letters"), self.name)
        await write_dead_letters(lead, [_letter(row) for row in fresh])
        await lead.execute(self.sql("drop_dead_letters"), self.name)
        await lead.execute(self.sql("settle_dead_letters"), self.name)


def _letter(row: Any) -> DeadLetter:
    headers = list(zip(row["header_names"], row["header_values"], strict=True))
    position = Position(row["topic"], row["partition"], row["offset"])
    return DeadLetter(
        projection=row["projection"],
        position=position,
        reason=row["reason"],
        record=RawRecord(*position, row["key"], row["value"], headers, 0),
        event_key=row["event_key"],
        event_id=row["event_id"],
        user_id=row["user_id"],
    )


class PostgresBeside:
    """The new tables of a row projection."""

    def __init__(self, lead: Connection, projection: Projection, restart: bool = False) -> None:
        self._rebuilding = Rebuilding(lead, projection.name, projection.version, projection.topics)
        self._lead = lead
        self._tables = [table.name for table in projection.tables]
        self._restart = restart
        self.serving = self._rebuilding.serving
        self.reached = self._rebuilding.reached

    @property
    def alive(self) -> bool:
        return not self._lead.is_closed()

    async def begin(self) -> bool:
        """Make the new tables; True if those of an interrupted rebuild go on being filled.

        Raises:
            RebuildRuns: another rebuild of this projection is under way.
        """
        return await self._rebuilding.begin(self._tables, self._restart)

    async def settle(self) -> None:
        """Statistics, without which the first reads after the swap would be planned badly."""
        async with translated():
            for table in self._tables:
                sql = f"analyze {schema_of(self._rebuilding.name)}.{table}"
                await self._lead.execute(sql, timeout=ANALYZE_SECONDS_MAX)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Positions]:
        async with self._rebuilding.transaction():
            rows = await self._rebuilding.hold()
            yield {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def swap(self) -> None:
        """The first table is locked first: who reads several in a transaction begins with it.

        See `reading.one_state`. Once all are locked, nobody has seen any of them in a transaction
        that goes on.
        """
        name, lead = self._rebuilding.name, self._lead
        async with translated():
            for table in self._tables:
                await lead.execute(f"lock table public.{table} in access exclusive mode")
            await lead.execute(f"create schema {old_schema_of(name)}")
            for table in self._tables:
                await lead.execute(f"alter table public.{table} set schema {old_schema_of(name)}")
                await lead.execute(f"alter table {schema_of(name)}.{table} set schema public")
            await self._rebuilding.take_over()


@asynccontextmanager
async def leading_rebuild(url: str) -> AsyncIterator[Connection]:
    """The one connection that a rebuild is begun, held and swapped on.

    Raises:
        Unavailable: the database does not answer.
    """
    async with translated():
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=STATEMENT_SECONDS_MAX,
            server_settings={"application_name": "streams rebuild", "timezone": "UTC"},
        )
    try:
        yield connection
    finally:
        connection.terminate()


async def drop_old(pool: Pool, name: str) -> bool:
    """Drop the tables that the last rebuild replaced; False if there are none."""
    async with acquire(pool) as connection:
        if not await connection.fetchval("select to_regnamespace($1)", old_schema_of(name)):
            return False
        await connection.execute(f"drop schema if exists {old_schema_of(name)} cascade")
    return True

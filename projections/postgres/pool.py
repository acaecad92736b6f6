"""Connections to PostgreSQL, and the one place where its errors get our names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from projections.store import RowsRefused, Unavailable

#: Seconds until a connection attempt, and until a statement, is given up as hanging.
CONNECT_SECONDS_MAX = 5.0
STATEMENT_SECONDS_MAX = 60.0

#: SQLSTATE classes of values that will be refused again however often they are sent: data,
#: constraints, and limits of the program, such as a key too long for an index.
_DATA_CLASSES = ("22", "23", "54")

#: SQLSTATE classes that speak of the server's state: connection, rollback by concurrency,
#: resources, operator intervention, system error, read-only transaction (25006).
_TRANSIENT = ("08", "40", "53", "57", "58", "25006", "55P03")

#: SQLSTATEs of a table or column that is not there.
_NOT_MIGRATED = ("42P01", "42703")

Pool = Any
Connection = Any


class NotMigrated(Exception):
    """The database is not what this version needs; `streams migrate` brings it there."""


@asynccontextmanager
async def open_pool(url: str, *, size_max: int = 10, name: str = "streams") -> AsyncIterator[Pool]:
    """A pool of connections to the database at ``url``; closed when the block ends.

    Raises:
        Unavailable: the database does not answer; the message names it.
    """
    async with translated():
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size_max,
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=STATEMENT_SECONDS_MAX,
            server_settings={"application_name": name, "timezone": "UTC"},
        )
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def acquire(pool: Pool) -> AsyncIterator[Connection]:
    """A connection of the pool, with errors translated.

    Raises:
        Unavailable: the database does not answer or can't write now.
        RowsRefused: a value is not acceptable to it.
    """
    async with translated(), pool.acquire() as connection:
        yield connection


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Errors of the driver become ours, named by what can be done about them."""
    try:
        yield
    except asyncpg.PostgresError as error:
        state = error.sqlstate or ""
        if state.startswith(_DATA_CLASSES):
            raise RowsRefused(str(error)) from error
        if state in _NOT_MIGRATED:
            raise NotMigrated(f"{error}; `streams migrate` brings the database up") from error
        if state.startswith(_TRANSIENT):
            raise Unavailable(f"PostgreSQL: {error}") from error
        raise
    except asyncpg.DataError as error:
        raise RowsRefused(str(error)) from error
    except (asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise Unavailable(f"PostgreSQL does not answer: {error or type(error).__name__}") from error

"""Connections to PostgreSQL, and the one place where its errors get our names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from projections.store import Broken, RowsRefused, Unavailable

#: Seconds until a connection attempt, and until a statement, is given up as hanging.
CONNECT_SECONDS_MAX = 5.0
STATEMENT_SECONDS_MAX = 60.0

#: Seconds that a transaction may wait for its own process before the server ends it. One that is
#: stopped in the middle of a commit holds the checkpoints that whoever takes over must raise.
IDLE_SECONDS_MAX = 10.0

#: The same for a transaction that waits for other servers on purpose (see ``patient``).
PATIENT_SECONDS_MAX = 300.0

#: Seconds that connections get for their farewell.
CLOSE_SECONDS_MAX = 1.0

#: SQLSTATE classes of values that will be refused again however often they are sent: data,
#: constraints, a view's check, limits of the program such as a key too long for an index, and what
#: a trigger raises without naming a class.
_DATA_CLASSES = ("22", "23", "44", "54", "P0")

#: SQLSTATE classes that speak of the server's state, which passes: connection, rollback by
#: concurrency, resources, objects in use or locked, operator intervention, system error, a snapshot
#: too old, configuration file, internal error; a read-only transaction (25006: a standby, or an
#: operator's default) and one that was ended for being idle or long (25P03, 25P04).
_TRANSIENT = ("08", "40", "53", "55", "57", "58", "72", "F0", "XX", "25006", "25P03", "25P04")

#: SQLSTATEs of a table or column that is not there.
_NOT_MIGRATED = ("42P01", "42703")

Pool = Any
Connection = Any


class NotMigrated(Broken):
    """The database is not what this version needs; `streams migrate` brings it there."""


@asynccontextmanager
async def open_pool(
    url: str, *, size_max: int = 10, name: str = "streams", search_path: str = "public"
) -> AsyncIterator[Pool]:
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
            server_settings={
                "application_name": name,
                "idle_in_transaction_session_timeout": f"{IDLE_SECONDS_MAX * 1000:.0f}",
                "timezone": "UTC",
                "search_path": search_path,
            },
            reset=_as_it_is,
        )
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await pool.close()
        except TimeoutError:
            # A server that hangs would be waited for in good faith, and for ever.
            pool.terminate()


async def _as_it_is(_connection: Connection) -> None:
    """Nothing of the session is changed on connections of a pool (no SET but LOCAL, no LISTEN, no
    lock beyond a transaction), so the round trip that would clear it at each return is spared."""


@asynccontextmanager
async def acquire(pool: Pool) -> AsyncIterator[Connection]:
    """A connection of the pool, with errors translated.

    Raises:
        Unavailable: the database does not answer or can't write now.
        RowsRefused: a value is not acceptable to it.
        Broken: it refuses the statement itself.
    """
    async with translated(), pool.acquire() as connection:
        try:
            yield connection
        except asyncpg.ReadOnlySQLTransactionError:
            # The next one may reach a server that can write, or know that this one can again.
            connection.terminate()
            raise
        except asyncio.CancelledError:
            # Asking the server to cancel would wait for its answer, and it may be what hangs.
            connection.terminate()
            raise


async def patient(connection: Connection) -> None:
    """Let the current transaction wait for other servers between its statements."""
    await connection.execute(
        f"set local idle_in_transaction_session_timeout = {PATIENT_SECONDS_MAX * 1000:.0f}"
    )


#: A connection that is lost while it sends shows as the driver's confusion about its own state.
_LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Errors of the driver become ours, named by what can be done about them."""
    try:
        yield
    except (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError) as error:
        # Tables were altered under a connection that knows them; it has learnt it by now.
        raise Unavailable(f"PostgreSQL: {error}") from error
    except asyncpg.PostgresError as error:
        raise _of_state(error) from error
    except asyncpg.DataError as error:
        raise RowsRefused(str(error)) from error
    except _LOST as error:
        raise Unavailable(f"PostgreSQL does not answer: {error or type(error).__name__}") from error


def _of_state(error: asyncpg.PostgresError) -> Exception:
    state = error.sqlstate or ""
    if state.startswith(_DATA_CLASSES):
        return RowsRefused(str(error))
    if state in _NOT_MIGRATED:
        return NotMigrated(f"{error}; `streams migrate` brings the database up")
    if state.startswith(_TRANSIENT):
        return Unavailable(f"PostgreSQL: {error} ({state})")
    return Broken(f"PostgreSQL refuses: {error} ({state})")

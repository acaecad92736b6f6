"""Connections to ClickHouse, and the one place where its errors get our names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import clickhouse_connect
from clickhouse_connect.driver import exceptions

from projections.store import Broken, RowsRefused, Unavailable

#: Seconds until a connection attempt, and until a statement, is given up as hanging.
CONNECT_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 120

Client = Any

#: Values that will be refused again however often they are sent: not parseable, out of range,
#: null where none may be, not convertible, a violated constraint.
_DATA_CODES = frozenset({6, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 131, 321, 349, 407, 469, 691})

#: The statement or the installation is wrong; asking again will not help. Syntax, unknown table,
#: column, database, function, setting or type; wrong number of columns; refused login or right.
_OURS = frozenset({16, 20, 36, 42, 43, 44, 46, 47, 50, 60, 62, 81, 115, 192, 193, 194, 497, 516})


@asynccontextmanager
async def open_client(
    url: str, *, name: str = "streams", database: str | None = None
) -> AsyncIterator[Client]:
    """A client of the server at ``url``; closed when the block ends.

    ``database`` None is the one that the URL names.

    Raises:
        Unavailable: the server does not answer; the message names it.
    """
    async with translated():
        client = await clickhouse_connect.get_async_client(
            dsn=url,
            client_name=name,
            database=database or "__default__",
            connect_timeout=CONNECT_SECONDS_MAX,
            send_receive_timeout=STATEMENT_SECONDS_MAX,
            autogenerate_session_id=False,
        )
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Errors of the driver become ours, named by what can be done about them."""
    try:
        yield
    except exceptions.DataError as error:
        raise RowsRefused(str(error)) from error
    except exceptions.Error as error:
        if error.code in _DATA_CODES:
            raise RowsRefused(str(error)) from error
        if error.code in _OURS or isinstance(error, exceptions.ProgrammingError):
            raise Broken(f"ClickHouse refuses: {error}") from error
        raise Unavailable(f"ClickHouse: {error}") from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unavailable(f"ClickHouse does not answer: {error or type(error).__name__}") from error

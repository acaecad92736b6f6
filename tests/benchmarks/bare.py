"""The limit of the gateway's reads: bare Starlette routes that ask the same questions.

No token, no rate, no waiting for a position, no entity tag, no shaping: a connection of a pool, the
very statements that the product sends for its answer, the rows as JSON. `/view/…` makes the
product's own answer with nothing of the gateway around it, which tells what the answer costs from
what the gateway costs. `/nothing` asks nobody: what the load client and the server do at most.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from types import SimpleNamespace
from typing import Any

import asyncpg
import clickhouse_connect
import orjson
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.paging import LIMIT_DEFAULT
from gateway.server import configure
from gateway.settings import Settings
from projections.funnels import view as funnels
from projections.funnels.given import GIVEN
from projections.net_worth.view import net_worth
from projections.notifications.view import notifications
from projections.postgres.pool import acquire, open_pool
from projections.preferences.view import preferred_currency
from schemas.envelope import now

POOL_SIZE_MAX = int(Settings.model_fields["pool_size_max"].default)

#: (method of a connection, its arguments)
Statement = tuple[str, tuple[Any, ...]]


class Recorder:
    """A connection that writes down what is asked through it, with the answers of a real one."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.statements: list[Statement] = []

    async def fetch(self, *arguments: Any) -> Any:
        return await self._asked("fetch", arguments)

    async def fetchval(self, *arguments: Any) -> Any:
        return await self._asked("fetchval", arguments)

    async def fetchrow(self, *arguments: Any) -> Any:
        return await self._asked("fetchrow", arguments)

    async def execute(self, *arguments: Any) -> Any:
        """Locks and the like: not part of the question."""
        return await self._connection.execute(*arguments)

    def transaction(self, **options: Any) -> Any:
        return self._connection.transaction(**options)

    async def _asked(self, method: str, arguments: tuple[Any, ...]) -> Any:
        self.statements.append((method, arguments))
        return await getattr(self._connection, method)(*arguments)


class Routes:
    """The questions, by hand."""

    def __init__(self) -> None:
        self.pool: Any = None
        self.view_pool: Any = None
        self.clickhouse: Any = None
        self._statements: dict[tuple[str, str], list[Statement]] = {}
        self._funnel: tuple[str, dict[str, Any], dict[str, Any]] | None = None

    async def nothing(self, request: Request) -> Response:
        return _json({})

    async def net_worth(self, request: Request) -> Response:
        return _json(await self._ask("net-worth", request, _net_worth))

    async def notifications(self, request: Request) -> Response:
        return _json(await self._ask("notifications", request, _notifications))

    async def funnel(self, request: Request) -> Response:
        if self._funnel is None:
            self._funnel = await _funnel_query(self.clickhouse)
        sql, values, settings = self._funnel
        found = await self.clickhouse.query(sql, values, settings=settings)
        return _json([dict(zip(found.column_names, row, strict=True)) for row in found.result_rows])

    async def net_worth_view(self, request: Request) -> Response:
        async with acquire(self.view_pool) as connection:
            return _json(await _net_worth(connection, request.query_params["user"]))

    async def notifications_view(self, request: Request) -> Response:
        async with acquire(self.view_pool) as connection:
            return _json(await _notifications(connection, request.query_params["user"]))

    async def funnel_view(self, request: Request) -> Response:
        return _json(await _funnel(self.clickhouse))

    async def _ask(
        self, name: str, request: Request, read: Callable[[Any, str], Awaitable[Any]]
    ) -> list[Any]:
        """The rows of the statements that the view sends for this person."""
        user = request.query_params["user"]
        async with self.pool.acquire() as connection:
            statements = self._statements.get((name, user))
            if statements is None:
                recorder = Recorder(connection)
                await read(recorder, user)
                statements = self._statements[name, user] = recorder.statements
            found = []
            for method, arguments in statements:
                answer = await getattr(connection, method)(*arguments)
                found.append([dict(row) for row in answer] if method == "fetch" else answer)
            return found

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        address = os.environ["STREAMS_POSTGRES"]
        async with (
            asyncpg.create_pool(address, min_size=1, max_size=POOL_SIZE_MAX) as self.pool,
            open_pool(address, size_max=POOL_SIZE_MAX) as self.view_pool,
        ):
            self.clickhouse = await clickhouse_connect.get_async_client(
                dsn=os.environ["STREAMS_CLICKHOUSE"], autogenerate_session_id=False
            )
            try:
                yield
            finally:
                await self.clickhouse.close()


async def _net_worth(connection: Any, user: str) -> Any:
    preferred = await preferred_currency(connection, user)
    return await net_worth(connection, user, preferred=preferred)


async def _notifications(connection: Any, user: str) -> Any:
    return await notifications(connection, user, limit=LIMIT_DEFAULT, now=now())


def asked_days() -> tuple[date, date]:
    """The days that the funnel is asked about: the last thirty."""
    return funnels.last_days(30, now().date())


async def _funnel(client: Any) -> Any:
    return await funnels.funnel(client, GIVEN["onboarding"], *asked_days())


async def _funnel_query(client: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """What the view sends to ClickHouse."""
    sent: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

    async def query(sql: str, values: Any, *, settings: Any) -> Any:
        sent.append((sql, values, settings))
        return await client.query(sql, values, settings=settings)

    await _funnel(SimpleNamespace(query=query))
    return sent[0]


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body, default=_plain), media_type="application/json")


def _plain(value: Any) -> Any:
    """Of what the databases give: composite values as lists, numbers and ids as text."""
    return list(value) if isinstance(value, asyncpg.Record) else str(value)


def create_app() -> Starlette:
    """The routes as an application."""
    routes = Routes()
    return Starlette(
        routes=[
            Route("/nothing", routes.nothing),
            Route("/net-worth", routes.net_worth),
            Route("/notifications", routes.notifications),
            Route("/funnel", routes.funnel),
            Route("/view/net-worth", routes.net_worth_view),
            Route("/view/notifications", routes.notifications_view),
            Route("/view/funnel", routes.funnel_view),
        ],
        lifespan=routes.lifespan,
    )


def main(port: int) -> None:
    server = uvicorn.Server(configure(create_app(), "127.0.0.1", port))
    uvloop.run(server.serve())


if __name__ == "__main__":
    main(int(sys.argv[1]))

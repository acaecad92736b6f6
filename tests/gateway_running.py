"""A gateway on the real stack, for tests: served on a free port in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import jwt
import orjson
from websockets.asyncio.client import ClientConnection, connect

from compose.commands.gateway import open_log
from compose.local import Stack
from gateway.app import create_app
from gateway.parts import connecting
from gateway.server import serving
from gateway.settings import Settings
from projections.postgres.migrate import migrate
from projections.postgres.pool import open_pool
from schemas.limits import partitions_embedded
from streams import topics

SECRET = "the secret of the tests, long enough for HS256"


def new_user() -> str:
    """A person that no other test has."""
    return f"usr_{uuid4().hex[:12]}"


def token(user: str, *scopes: str, **claims: Any) -> str:
    """A token that the gateways of these tests believe."""
    body = {"sub": user, "scope": " ".join(scopes), "exp": int(time.time()) + 600, **claims}
    return jwt.encode(body, SECRET, algorithm="HS256")


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs."""

    url: str

    def client(self, user: str, *scopes: str) -> httpx.AsyncClient:
        """An HTTP client of this person."""
        headers = {"Authorization": f"Bearer {token(user, *scopes)}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30)

    def tail(self, user: str, *scopes: str, query: str = "", **options: Any) -> connect:
        """A WebSocket of this person on the tail."""
        url = self.url.replace("http", "ws") + "/ws/sync" + (f"?{query}" if query else "")
        headers = {"Authorization": f"Bearer {token(user, *scopes)}"}
        return connect(url, additional_headers=headers, compression=None, **options)


def settings_for(stack: Stack, database: str, **changes: Any) -> Settings:
    """Settings of a gateway on this stack."""
    return Settings.model_validate(
        {
            "kafka": stack.kafka,
            "postgres": database,
            "clickhouse": stack.clickhouse,
            "tokens": {"secret": SECRET},
            "port": 0,
            "rate_limit_per_minute": 10_000,
            **changes,
        }
    )


@asynccontextmanager
async def running_gateway(stack: Stack, database: str, **changes: Any) -> AsyncIterator[Gateway]:
    """A gateway for the length of the block, with topics and migrations."""
    await asyncio.to_thread(topics.ensure, stack.kafka, partitions_embedded)
    async with open_pool(database) as pool:
        await migrate(pool)
    settings = settings_for(stack, database, **changes)
    app = create_app(settings, connecting(lambda: open_log(settings)))
    async with serving(app, settings.host, settings.port) as url:
        yield Gateway(url)


async def message(socket: ClientConnection, seconds: float = 10) -> dict[str, Any]:
    """The next message that is no heartbeat."""
    async with asyncio.timeout(seconds):
        while True:
            found: dict[str, Any] = orjson.loads(await socket.recv())
            if found["kind"] != "heartbeat":
                return found


async def until_live(socket: ClientConnection) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The events until the tail says that it is live, and what it said."""
    events = []
    while (found := await message(socket))["kind"] == "event":
        events.append(found)
    return events, found


def ids(messages: Sequence[dict[str, Any]]) -> list[str]:
    """The ids of the events in these messages."""
    return [each["event"]["id"] for each in messages]

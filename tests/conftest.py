"""Fixtures of all kinds of tests: a local stack for the session, fresh databases in it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from compose.local import Stack, local_stack
from compose.local.errors import NotInstalled
from projections.postgres.migrate import migrate
from projections.postgres.pool import Pool, open_pool


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A running stack (`.kafka`, `.postgres`, `.clickhouse`); the broker keeps its log in memory.

    Shared by all tests of the session: use topics, databases and groups of your own.
    """
    with _folder() as folder, local_stack(folder) as running:
        yield running


@pytest.fixture(scope="session")
def kafka_stack() -> Iterator[Stack]:
    """The same with Apache Kafka; its tests carry the marker `kafka`."""
    with ExitStack() as ends:
        folder = ends.enter_context(_folder())
        try:
            running = ends.enter_context(local_stack(folder, kafka=True))
        except NotInstalled as error:
            pytest.skip(str(error))
        yield running


@pytest.fixture
async def database(stack: Stack) -> AsyncIterator[str]:
    """The URL of a fresh, empty Postgres database, dropped after the test."""
    import asyncpg

    name = f"test_{uuid4().hex}"
    connection = await asyncpg.connect(stack.postgres)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield stack.postgres.rsplit("/", 1)[0] + f"/{name}"
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    """Connections to such a database, migrated; a module's own `pool` may add tables to it."""
    async with open_pool(database) as opened:
        await migrate(opened)
        yield opened


@pytest.fixture
def clickhouse_database(stack: Stack) -> Iterator[str]:
    """The name of a fresh, empty ClickHouse database, dropped after the test."""
    import clickhouse_connect

    name = f"test_{uuid4().hex}"
    with clickhouse_connect.get_client(dsn=stack.clickhouse) as client:
        client.command(f"CREATE DATABASE {name}")
        yield name
        client.command(f"DROP DATABASE {name}")


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder removed at the end; not pytest's, whose mode shuts out the user of Postgres."""
    path = Path(tempfile.mkdtemp(prefix="streams-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)

"""A stack of its own for a benchmark, in a temporary folder that goes with it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from compose.commands.up import prepare
from compose.local import Stack, local_stack
from compose.local.service import Child, Server
from compose.processes import environment_of
from schemas.limits import partitions_embedded
from streams.topics import create_admin

ANSWER_SECONDS_MAX = 30.0

#: The servers by the names that tables have for them.
SERVERS = {"broker": "kafka", "postgres": "postgres", "clickhouse": "clickhouse"}


@dataclass
class Stand:
    """A stack that runs, and the processes that were started beside it."""

    folder: Path
    stack: Stack
    _ends: ExitStack = field(default_factory=ExitStack)

    def pids(self) -> dict[str, int]:
        """The roots of the servers' process trees, for a Meter."""
        return {name: self.stack.pids[server] for name, server in SERVERS.items()}

    @property
    def env(self) -> dict[str, str]:
        """The settings of our own processes on this stack (main database, our topics)."""
        return environment_of(self.folder, self.stack.addresses, partitions_embedded)

    def start(self, server: Server) -> Child:
        """Start a process and wait until it is ready; it ends with the stand at the latest.

        To be called from the main thread: the kernel ends a child with the thread that made it.
        """
        child = self.launch(server)
        child.wait_ready()
        return child

    def launch(self, server: Server) -> Child:
        """Start a process without waiting for it; it ends with the stand at the latest."""
        child = Child(server, self.folder / "logs")
        self._ends.callback(child.stop)
        return child

    def topic(self, name: str, partitions: int = partitions_embedded) -> None:
        """Make a topic that is not one of ours; returns when the broker has made it."""
        admin = create_admin(self.stack.kafka)
        made = admin.create_topics([NewTopic(name, partitions, 1)])
        made[name].result(ANSWER_SECONDS_MAX)

    @contextmanager
    def database(self) -> Iterator[str]:
        """A fresh, empty database for the length of the block; its address."""
        name = f"bench_{uuid4().hex[:12]}"
        self.execute(f"create database {name}")
        try:
            yield self.stack.postgres.rpartition("/")[0] + f"/{name}"
        finally:
            self.execute(f"drop database if exists {name} with (force)")

    def execute(self, script: str, database: str | None = None) -> None:
        """Run SQL in a database (an address), the main one if none is named."""
        asyncio.run(_execute(database or self.stack.postgres, script))


async def _execute(address: str, script: str) -> None:
    connection = await asyncpg.connect(address)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


@contextmanager
def stand(*, kafka: bool = False, migrated: bool = True) -> Iterator[Stand]:
    """Broker, PostgreSQL and ClickHouse for the length of the block.

    `kafka` takes Apache Kafka for the broker in memory; `migrated` makes our tables and topics.
    Everything that was started through it ends with the block, the last first.
    """
    folder = Path(tempfile.mkdtemp(prefix="streams-bench-"))
    with ExitStack() as ends:
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        stack = ends.enter_context(local_stack(folder, kafka=kafka))
        if migrated:
            prepare(folder)
        yield Stand(folder, stack, ends.enter_context(ExitStack()))

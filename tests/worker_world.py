"""A stack of its own with worker processes that are started, stopped and looked at."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from compose.commands.up import prepare
from compose.exit_codes import ExitCode
from compose.local import Stack, local_stack
from compose.local.errors import NotInstalled
from compose.local.service import Child
from compose.processes import Worker, environment_of
from schemas.envelope import Draft
from schemas.limits import partitions_embedded
from schemas.topics import partition_of
from streams.producer import ProducerSettings, SyncProducer
from streams.topics import log_ends
from tests.builders import posted

SECONDS_MAX = 240.0
LEDGER = "bfc.ledger"
USER = "usr_17"

T = TypeVar("T")


@dataclass
class World:
    """A stack of its own, with a worker that is started and ends as a process."""

    folder: Path
    stack: Stack
    worker: Child | None = None
    others: list[Child] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        return environment_of(self.folder, self.stack.addresses, partitions_embedded)

    def start(self, *options: str) -> Child:
        self.worker = Child(Worker(self.folder, self.env, arguments=options), self.folder / "logs")
        self.worker.wait_ready()
        return self.worker

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.stop()
            self.worker = None
        for child in self.others:
            child.stop()

    def ended(self) -> str:
        """Wait until the worker ends by itself with the code for another log; what it said last."""
        assert self.worker is not None
        await_true(self.worker.has_ended, "the worker does not end")
        assert self.worker.exit_code == ExitCode.OTHER_LOG
        said = self.worker.written()
        self.worker = None
        return said

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "compose.cli", *arguments],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS_MAX,
        )

    def send(self, drafts: Sequence[Draft]) -> None:
        with SyncProducer(ProducerSettings(self.stack.kafka)) as producer:
            producer.send_many(drafts)

    def execute(self, script: str) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self.stack.postgres)
            try:
                await connection.execute(script)
            finally:
                await connection.close()

        apart(run)

    def fetch(self, sql: str, *values: Any) -> list[Any]:
        async def ask() -> list[Any]:
            connection = await asyncpg.connect(self.stack.postgres)
            try:
                return list(await connection.fetch(sql, *values))
            finally:
                await connection.close()

        return apart(ask)

    def clickhouse(self, sql: str) -> list[Any]:
        import clickhouse_connect

        with clickhouse_connect.get_client(dsn=self.stack.clickhouse) as client:
            return [tuple(row) for row in client.query(sql).result_rows]

    def run(self, worker: Worker) -> Child:
        """One more worker beside ``worker``; ended with the world."""
        child = Child(worker, self.folder / "logs")
        self.others.append(child)
        child.wait_ready()
        return child

    def caught_up(self, by: Child | None = None) -> None:
        ends = log_ends(self.stack.kafka)
        worker = by or self.worker

        def is_there() -> bool:
            assert worker is not None and not worker.has_ended()
            rows = self.fetch("select topic, partition, next_offset from checkpoints")
            return bool(rows) and all(row[2] >= ends[row[0], row[1]] for row in rows)

        await_true(is_there, "the read models do not reach the end of the log")

    def balance(self) -> str:
        (row,) = self.fetch("select amount from balances where user_id = $1", USER)
        return str(row["amount"])

    def executions(self) -> int:
        (row,) = self.fetch("select count(*) from rule_executions where user_id = $1", USER)
        return int(row[0])

    def place(self) -> tuple[str, int]:
        return LEDGER, partition_of(USER.encode(), partitions_embedded)

    def number_of(self, topic: str) -> int:
        (row,) = self.fetch("select no from log_retirements where topic = $1", topic)
        return int(row[0])

    def checkpoints(self) -> dict[Any, int]:
        rows = self.fetch("select projection, topic, partition, next_offset from checkpoints")
        return {tuple(row)[:3]: row["next_offset"] for row in rows}


def apart(ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it in a loop of its own, also where another one runs."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(ask())).result()


def await_true(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


@contextmanager
def worker_world(*, kafka: bool) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="streams-identity-"))
    with ExitStack() as ends:
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            stack = ends.enter_context(local_stack(folder, kafka=kafka))
        except NotInstalled as error:
            pytest.skip(str(error))
        prepare(folder)
        made = World(folder, stack)
        ends.callback(made.stop)
        yield made


def paid(number: int, amount: str = "10.00", user: str = USER) -> Draft:
    return posted(user=user, amount=amount, id=f"paid-{number}")

"""The whole system on a stack of its own: real processes, a plain reader, a plain HTTP client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Consumer, TopicPartition

from compose.commands.up import prepare
from compose.local import Stack, local_stack, tokens
from compose.local.ports import choose_ports
from compose.local.service import Child
from compose.processes import Worker, environment_of, serving
from schemas.codec import RawRecord
from schemas.limits import partitions_embedded
from schemas.topics import TOPICS
from streams.topics import log_ends

#: Seconds after which a system that does not come to rest is given up.
REST_SECONDS_MAX = 300.0
LOOK_SECONDS = 0.1


@dataclass
class System:
    """A running stack with worker and gateway."""

    folder: Path
    stack: Stack
    children: list[Child]
    url: str

    def token(self, user: str, *scopes: str) -> str:
        key = tokens.secret(self.folder)
        return tokens.mint(key, user, scopes, tenant="bfc", ttl_seconds=3600)

    def get(self, path: str, user: str = "usr_17", *scopes: str, **params: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token(user, *scopes)}"}
        answer = httpx.get(f"{self.url}{path}", headers=headers, params=params, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def kill_worker(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        import os
        import signal

        os.kill(self.children[0].pid, signal.SIGKILL)

    def start_worker(self) -> None:
        worker = self.children[0]
        worker.stop()
        self.children[0] = Child(worker.server, self.folder / "logs")
        self.children[0].wait_ready()

    def log(self) -> list[RawRecord]:
        """All records, by a plain consumer that only knows the topics."""
        return read_log(self.stack.kafka)

    def log_of_events(self) -> list[RawRecord]:
        """The same without dead letters."""
        return [record for record in self.log() if record.topic != "dead-letters"]

    def ask(self, sql: str) -> list[Any]:
        """The rows that PostgreSQL answers with."""
        import asyncio

        import asyncpg

        async def fetch() -> list[Any]:
            connection = await asyncpg.connect(self.stack.postgres)
            try:
                return list(await connection.fetch(sql))
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def rest(self) -> None:
        """Wait until every projection stands at the end of the log, and nothing is owed to it."""
        await_true(self._rests, "the projections do not reach the end of the log")

    def _rests(self) -> bool:
        import asyncio

        return asyncio.run(self._is_at_rest())

    async def _is_at_rest(self) -> bool:
        import asyncpg

        connection = await asyncpg.connect(self.stack.postgres)
        try:
            owed = await connection.fetchval("select count(*) from outbox")
            rows = await connection.fetch(
                "select projection, topic, partition, next_offset from checkpoints"
            )
        finally:
            await connection.close()
        ends = log_ends(self.stack.kafka)
        behind = [
            (row["projection"], row["topic"])
            for row in rows
            if row["next_offset"] < ends[row["topic"], row["partition"]]
        ]
        return bool(rows) and not behind and owed == 0


@contextmanager
def whole_system(folder: Path, *, kafka: bool = False) -> Iterator[System]:
    """Stack, migrations, topics, worker and gateway for the length of the block."""
    port = choose_ports({"gateway": 0}, {})["gateway"]
    with local_stack(folder, kafka=kafka) as stack:
        prepare(folder)
        env = environment_of(folder, stack.addresses, partitions_embedded)
        with serving(folder, env, port) as children:
            assert isinstance(children[0].server, Worker)
            yield System(folder, stack, children, f"http://127.0.0.1:{port}")


def await_true(condition: Callable[[], bool], otherwise: str) -> None:
    """Ask until it holds."""
    deadline = time.monotonic() + REST_SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(LOOK_SECONDS)


def read_log(kafka: str) -> list[RawRecord]:
    """Every record of every topic up to the ends that they have now."""
    ends = {place: end for place, end in log_ends(kafka).items() if end}
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": "plain-reader",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for topic, number in ends])
    records: list[RawRecord] = []
    open_places = set(ends)
    try:
        while open_places:
            message = consumer.poll(10.0)
            assert message is not None, f"nothing comes of {sorted(open_places)}"
            if message.error():
                open_places.discard((message.topic(), message.partition()))
                continue
            records.append(
                RawRecord(
                    message.topic(),
                    message.partition(),
                    message.offset(),
                    message.key(),
                    message.value(),
                    message.headers() or [],
                    message.timestamp()[1],
                )
            )
    finally:
        consumer.close()
    assert {record.topic for record in records} <= set(TOPICS)
    return sorted(records, key=lambda record: record[:3])


def event_of(record: RawRecord) -> dict[str, Any]:
    """The CloudEvent of a record, as any JSON reader sees it."""
    event: dict[str, Any] = json.loads(record.value or b"null")
    return event

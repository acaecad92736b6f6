"""The limit: the job written by hand, for this job alone, with all that was learnt.

Three threads, each at work on another batch: one consumes, one transforms with Arrow, one writes;
the second and the third release the interpreter for most of their time. What is pending when the
transformation is free makes the next batch. Rows are sorted by their random key before the COPY,
which makes them cheap to index.
"""

from __future__ import annotations

import asyncio
import io
import os
import queue
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.benchmarks.peer.contestants import sql
from tests.benchmarks.peer.contestants.columns import Columns, transformed
from tests.benchmarks.peer.contestants.given import Given, given, mark_first
from tests.benchmarks.peer.contestants.whole_batches import install
from tests.benchmarks.peer.contestants.writing_sync import positions

#: Events that wait for the transformation at most; about as many make a batch when behind.
PENDING_EVENTS_MAX = 30_000
#: Kafka's record batches that one call hands over.
FETCH_BATCHES_MAX = 50

_COPY = f"copy peer_transactions ({', '.join(sql.TRANSACTION_COLUMNS)}) from stdin (format binary)"
_ACCOUNTS, _TOTALS = map(sql.formatted, (sql.ACCOUNTS, sql.TOTALS))
#: Compare and set: it moves only what stands where the batch begins.
_MOVE = """
update peer_checkpoints c set next_offset = u.stop
from unnest(%s::int[], %s::bigint[], %s::bigint[]) as u(partition, start, stop)
where c.topic = %s and c.partition = u.partition and c.next_offset = u.start
"""


@dataclass
class Pending:
    """Values that wait, and where they begin and end in each partition."""

    values: list[bytes] = field(default_factory=list)
    starts: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)


class Intake:
    """What the consumer leaves for the transformation; the consumer waits while it is full."""

    def __init__(self) -> None:
        self._pending = Pending()
        self._changed = threading.Condition()

    def add(self, partition: int, start: int, end: int, values: list[bytes]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._pending.values) < PENDING_EVENTS_MAX)
            pending = self._pending
            pending.values += values
            pending.starts.setdefault(partition, start)
            pending.ends[partition] = end
            self._changed.notify()

    def take(self) -> Pending:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._pending.values))
            taken, self._pending = self._pending, Pending()
            self._changed.notify()
            return taken


def transform(intake: Intake, ready: queue.Queue[tuple[Pending, Columns]]) -> None:
    """Second thread."""
    while True:
        taken = intake.take()
        ready.put((taken, transformed(taken.values)))


def write(task: Given, ready: queue.Queue[tuple[Pending, Columns]]) -> None:
    """Third thread."""
    connection = psycopg2.connect(task.postgres)
    while True:
        taken, columns = ready.get()
        with connection, connection.cursor() as cursor:
            _move(cursor, task.topic, taken)
            cursor.copy_expert(_COPY, io.BytesIO(columns.transactions), size=1 << 26)
            cursor.execute(_ACCOUNTS, columns.accounts)
            cursor.execute(_TOTALS, columns.totals)


def _move(cursor: Any, topic: str, taken: Pending) -> None:
    partitions = list(taken.ends)
    starts = [taken.starts[partition] for partition in partitions]
    cursor.execute(_MOVE, (partitions, starts, list(taken.ends.values()), topic))
    if cursor.rowcount != len(partitions):
        raise RuntimeError("somebody else has moved the checkpoints")


def start(run: Callable[..., None], *args: Any) -> None:
    """Run it in a thread; when it fails, the process ends."""

    def guarded() -> None:
        try:
            run(*args)
        except BaseException:  # noqa: BLE001 - without this thread the others would wait for ever
            traceback.print_exc()
            os._exit(1)

    threading.Thread(target=guarded, daemon=True).start()


async def consume(task: Given, intake: Intake) -> None:
    """First thread: partitions are assigned by hand, from their checkpoints on."""
    connection = psycopg2.connect(task.postgres)
    offsets = positions(connection, task.topic)
    connection.close()
    consumer = AIOKafkaConsumer(bootstrap_servers=task.kafka)
    await consumer.start()
    places = [TopicPartition(task.topic, partition) for partition in offsets]
    consumer.assign(places)
    for place in places:
        consumer.seek(place, offsets[place.partition])
    while True:
        fetched = await consumer.getmany(timeout_ms=500, max_records=FETCH_BATCHES_MAX)
        for place, batches in fetched.items():
            mark_first()
            for batch in batches:
                # It blocks the loop while there is no room: nothing else is to be done then.
                intake.add(place.partition, batch.offset, batch.end, batch.values)


def main() -> None:
    task = given()
    install()
    intake, ready = Intake(), queue.Queue[tuple[Pending, Columns]](1)
    start(transform, intake, ready)
    start(write, task, ready)
    asyncio.run(consume(task, intake))


if __name__ == "__main__":
    main()

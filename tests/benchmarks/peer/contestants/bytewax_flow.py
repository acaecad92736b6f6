"""Bytewax: Kafka's source into a sink of one partition.

Its recovery takes snapshots of its own; the checkpoints in the sink make repetitions harmless.
"""

from __future__ import annotations

from typing import Any

import bytewax.operators as op
import orjson
import psycopg2
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from tests.benchmarks.peer.contestants.batch import Batch
from tests.benchmarks.peer.contestants.given import BATCH_EVENTS_MAX, Given, given, mark_first
from tests.benchmarks.peer.contestants.writing_sync import locked, write


class PostgresPartition(StatelessSinkPartition[KafkaSourceMessage]):
    """Writes what came together in one transaction."""

    def __init__(self, task: Given) -> None:
        self._task = task
        self._connection: Any = psycopg2.connect(task.postgres)

    def write_batch(self, items: list[KafkaSourceMessage]) -> None:
        mark_first()
        batch = Batch()
        with self._connection, self._connection.cursor() as cursor:
            done = locked(cursor, self._task.topic, {item.partition for item in items})
            for item in items:
                if item.offset >= done[item.partition]:
                    batch.add_json(item.partition, item.offset, orjson.loads(item.value))
            write(cursor, self._task.topic, batch)

    def close(self) -> None:
        self._connection.close()


class PostgresSink(DynamicSink[KafkaSourceMessage]):
    """One partition for each worker."""

    def __init__(self, task: Given) -> None:
        self._task = task

    def build(self, step_id: str, worker_index: int, worker_count: int) -> PostgresPartition:
        return PostgresPartition(self._task)


task = given()
flow = Dataflow("peer")
postings = op.input(
    "in",
    flow,
    KafkaSource(
        [task.kafka],
        [task.topic],
        batch_size=BATCH_EVENTS_MAX,
        add_config={"group.id": task.group},
    ),
)
op.output("out", postings, PostgresSink(task))

"""No framework: confluent-kafka's `consume`, a transaction for what it brings."""

from __future__ import annotations

from typing import Any

import orjson
import psycopg2
from confluent_kafka import Consumer, TopicPartition

from tests.benchmarks.peer.contestants.batch import Batch
from tests.benchmarks.peer.contestants.given import BATCH_EVENTS_MAX, given, mark_first
from tests.benchmarks.peer.contestants.writing_sync import locked, positions, write

WAIT_SECONDS = 0.1


def main() -> None:
    task = given()
    connection = psycopg2.connect(task.postgres)
    consumer = Consumer(
        {
            "bootstrap.servers": task.kafka,
            "group.id": task.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )

    def from_checkpoints(consumer: Consumer, assigned: list[TopicPartition]) -> None:
        offsets = positions(connection, task.topic)
        for place in assigned:
            place.offset = offsets[place.partition]
        consumer.assign(assigned)

    consumer.subscribe([task.topic], on_assign=from_checkpoints)
    while True:
        # It waits for so many or so long: what is there first, then the rest of it without waiting.
        first = consumer.poll(WAIT_SECONDS)
        if first is None:
            continue
        messages = [first, *consumer.consume(BATCH_EVENTS_MAX - 1, 0)]
        mark_first()
        with connection, connection.cursor() as cursor:
            write(cursor, task.topic, _gathered(cursor, task.topic, messages))


def _gathered(cursor: Any, topic: str, messages: list[Any]) -> Batch:
    batch = Batch()
    failed = [message.error() for message in messages if message.error()]
    if failed:
        raise RuntimeError(f"the broker says: {failed[0]}")
    done = locked(cursor, topic, {message.partition() for message in messages})
    for message in messages:
        partition, offset = message.partition(), message.offset()
        if offset >= done[partition]:
            batch.add_json(partition, offset, orjson.loads(message.value()))
    return batch


if __name__ == "__main__":
    main()

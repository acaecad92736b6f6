"""FastStream: a subscriber that takes batches; `PEER_CLIENT` is aiokafka or confluent."""

# Without `from __future__ import annotations`: FastStream reads those of its subscribers.
import asyncio
import os
from collections.abc import Sequence
from typing import Any

import asyncpg
import orjson
from faststream import AckPolicy, FastStream

from tests.benchmarks.peer.contestants.batch import Batch
from tests.benchmarks.peer.contestants.given import BATCH_EVENTS_MAX, Given, given, mark_first
from tests.benchmarks.peer.contestants.writing_async import locked, write


class Project:
    """Writes batches; the connection is made when the application starts."""

    def __init__(self, task: Given) -> None:
        self._task = task
        self._connection: Any = None

    async def connect(self) -> None:
        self._connection = await asyncpg.connect(self._task.postgres)

    async def write(self, values: Sequence[bytes], places: Sequence[tuple[int, int]]) -> None:
        """Write events with their (partition, offset), without what is written already.

        FastStream itself decodes `application/json` alone; CloudEvents' content type is another.
        """
        mark_first()
        topic, batch = self._task.topic, Batch()
        async with self._connection.transaction():
            done = await locked(self._connection, topic, {partition for partition, _ in places})
            for value, (partition, offset) in zip(values, places, strict=True):
                if offset >= done[partition]:
                    batch.add_json(partition, offset, orjson.loads(value))
            await write(self._connection, topic, batch)


def aiokafka_broker(task: Given, project: Project) -> Any:
    """A subscriber with aiokafka underneath."""
    from faststream.kafka import KafkaBroker, KafkaMessage

    broker = KafkaBroker(task.kafka)

    @broker.subscriber(
        task.topic,
        batch=True,
        max_records=BATCH_EVENTS_MAX,
        group_id=task.group,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )
    async def on_batch(values: list[bytes], message: KafkaMessage) -> None:
        await project.write(values, [(raw.partition, raw.offset) for raw in message.raw_message])

    return broker


def confluent_broker(task: Given, project: Project) -> Any:
    """A subscriber with librdkafka underneath."""
    from faststream.confluent import KafkaBroker, KafkaMessage

    broker = KafkaBroker(task.kafka)

    @broker.subscriber(
        task.topic,
        batch=True,
        max_records=BATCH_EVENTS_MAX,
        group_id=task.group,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )
    async def on_batch(values: list[bytes], message: KafkaMessage) -> None:
        places = [(raw.partition(), raw.offset()) for raw in message.raw_message]
        await project.write(values, places)

    return broker


def main() -> None:
    task = given()
    project = Project(task)
    confluent = os.environ.get("PEER_CLIENT") == "confluent"
    broker = (confluent_broker if confluent else aiokafka_broker)(task, project)
    app = FastStream(broker, on_startup=[project.connect])
    asyncio.run(app.run())


if __name__ == "__main__":
    main()

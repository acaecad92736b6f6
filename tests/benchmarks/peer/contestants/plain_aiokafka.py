"""No framework: aiokafka's `getmany`, a transaction for what it brings, from the checkpoints on."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from tests.benchmarks.peer.contestants.batch import Batch
from tests.benchmarks.peer.contestants.given import BATCH_EVENTS_MAX, given, mark_first
from tests.benchmarks.peer.contestants.writing_async import locked, positions, write


class FromCheckpoints(ConsumerRebalanceListener):
    """Whoever is given a partition reads it from its checkpoint."""

    def __init__(self, consumer: AIOKafkaConsumer, connection: Any, topic: str) -> None:
        self._consumer = consumer
        self._connection = connection
        self._topic = topic

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """A batch in hand finds its checkpoint moved."""

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        offsets = await positions(self._connection, self._topic)
        for place in assigned:
            self._consumer.seek(place, offsets[place.partition])


async def main() -> None:
    task = given()
    connection = await asyncpg.connect(task.postgres)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.kafka, group_id=task.group, enable_auto_commit=False
    )
    await consumer.start()
    asking = await asyncpg.connect(task.postgres)
    consumer.subscribe([task.topic], listener=FromCheckpoints(consumer, asking, task.topic))
    while True:
        fetched = await consumer.getmany(timeout_ms=500, max_records=BATCH_EVENTS_MAX)
        if not fetched:
            continue
        mark_first()
        batch = Batch()
        async with connection.transaction():
            done = await locked(connection, task.topic, [place.partition for place in fetched])
            for place, records in fetched.items():
                for record in records:
                    if record.offset >= done[place.partition]:
                        event = orjson.loads(record.value)
                        batch.add_json(place.partition, record.offset, event)
            await write(connection, task.topic, batch)


if __name__ == "__main__":
    asyncio.run(main())

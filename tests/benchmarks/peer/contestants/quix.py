"""Quix Streams: a dataframe with a batching sink, flushed at each of its checkpoints."""

from __future__ import annotations

from typing import Any

import psycopg2
from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from tests.benchmarks.peer.contestants.batch import Batch
from tests.benchmarks.peer.contestants.given import BATCH_EVENTS_MAX, Given, given, mark_first
from tests.benchmarks.peer.contestants.writing_sync import locked, write


class PostgresSink(BatchingSink):
    """Writes what the framework gathered of a partition in one transaction."""

    def __init__(self, task: Given) -> None:
        super().__init__()
        self._task = task
        self._connection: Any = None

    def setup(self) -> None:
        self._connection = psycopg2.connect(self._task.postgres)

    def write(self, batch: SinkBatch) -> None:
        """Called for each partition at each checkpoint."""
        topic, partition = self._task.topic, batch.partition
        gathered = Batch()
        with self._connection, self._connection.cursor() as cursor:
            done = locked(cursor, topic, [partition])[partition]
            for item in batch:
                if item.offset >= done:
                    gathered.add_json(partition, item.offset, item.value)
            write(cursor, topic, gathered)


def main() -> None:
    task = given()
    app = Application(
        broker_address=task.kafka,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        commit_every=BATCH_EVENTS_MAX,
        state_dir=task.folder,
        loglevel="WARNING",
    )
    topic = app.topic(task.topic, value_deserializer="json", key_deserializer="str")
    postings = app.dataframe(topic)
    postings = postings.update(lambda _: mark_first())
    postings.sink(PostgresSink(task))
    app.run()


if __name__ == "__main__":
    main()

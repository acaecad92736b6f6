"""The log of the peer job in a broker, written as our producer writes it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from confluent_kafka import Producer

from schemas.codec import RawRecord, Unreadable, decode_batch
from schemas.envelope import HEADERS
from streams.producer import ProducerSettings
from streams.topics import log_ends
from tests.benchmarks.peer.events import PARTITIONS, TOPIC, Made

FLUSH_SECONDS_MAX = 120.0
POLL_SECONDS = 0.05
#: Records between two looks at what was delivered.
POLL_RECORDS = 1_000


class NotWritten(Exception):
    """The log is not as it was to be."""


def fill(kafka: str, records: Sequence[Made]) -> None:
    """Append the records, in their order within each partition.

    Raises:
        NotWritten: a record is no valid event, or did not arrive where it belongs.
    """
    _check(records)
    errors: list[str] = []
    # Larger batches than a producer of live events makes: what is measured is how they are read.
    # Errors alone: a broker that has just begun is asked again.
    settings = ProducerSettings(kafka, linger_ms=20, more={"log_level": "3"})
    producer = Producer(settings.librdkafka())

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            errors.append(str(error))

    for number, record in enumerate(records):
        while True:
            try:
                producer.produce(
                    TOPIC,
                    record.value,
                    record.key,
                    partition=record.partition,
                    headers=HEADERS,
                    on_delivery=delivered,
                )
                break
            except BufferError:
                producer.poll(POLL_SECONDS)
        if number % POLL_RECORDS == 0:
            producer.poll(0)
    left = producer.flush(FLUSH_SECONDS_MAX)
    if errors or left:
        raise NotWritten(f"{len(errors)} records failed, {left} were not written: {errors[:1]}")
    found = sum(log_ends(kafka)[TOPIC, partition] for partition in range(PARTITIONS))
    # The broker in memory names the first offset of the last batch plus one.
    if found > len(records):
        raise NotWritten(f"the log has {found} records, more than {len(records)}")


def _check(records: Sequence[Made]) -> None:
    """Every reader of ours must take them, where they are."""
    now = time.time_ns() // 1_000_000
    offsets = [0] * PARTITIONS
    raw = []
    for record in records:
        raw.append(
            RawRecord(
                TOPIC,
                record.partition,
                offsets[record.partition],
                record.key,
                record.value,
                HEADERS,
                now,
            )
        )
        offsets[record.partition] += 1
    for seen in decode_batch(raw, partitions={TOPIC: PARTITIONS}):
        if isinstance(seen, Unreadable):
            raise NotWritten(f"{seen.position} is no valid event: {seen.reason}")

"""The relay: what projections owe the log is published in order, each record once.

One relay of an installation leads, the others stand by. Each round is one Kafka transaction and
then one delete; a crash between the two repeats nothing, because a new leader first looks at the
ends of the topics for what the last one published. Its transactional id fences a predecessor
that was only asleep.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import aiokafka
import msgspec
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException, Producer

from projections import dead_letters
from projections.backoff import wait_seconds
from projections.store import Unavailable
from schemas import limits

#: Records of one transaction: what a new leader has to look for at the end of each partition.
ROUND_RECORDS_MAX = 2_000

#: Seconds without a wake-up after which the relay looks by itself.
IDLE_SECONDS_MAX = 5.0

TRANSACTIONAL_ID = "streams-relay"

#: Seconds until a transaction is given up; right after its start a broker may need some for the
#: first one.
TRANSACTION_SECONDS_MAX = 30.0

logger = logging.getLogger(__name__)


class Outbox(Protocol):
    """What the relay needs of the outbox that it leads."""

    async def pending(self, limit: int) -> list[Any]: ...

    async def settle(self, seqs: list[int]) -> None: ...

    async def topics(self) -> set[str]: ...

    async def settle_published(self, published: set[tuple[str, str]]) -> int: ...

    async def fire_timers(self, now: datetime, limit: int) -> int: ...

    async def next_due(self) -> datetime | None: ...

    async def woken(self, seconds: float) -> None: ...


Lead = Callable[[], AbstractAsyncContextManager[Outbox]]


def now_utc() -> datetime:
    return datetime.now(UTC)


async def relay(lead: Lead, kafka: str, clock: Callable[[], datetime] = now_utc) -> None:
    """Publish until cancelled; lost infrastructure is waited for, visibly."""
    chance = random.Random()
    attempt = 0
    while True:
        try:
            async with lead() as outbox, _producer(kafka) as producer:
                logger.info("the relay leads")
                await _forget_published(outbox, kafka)
                attempt = 0
                while True:
                    await _round(outbox, producer, clock)
        except (Unavailable, KafkaError, KafkaException, OSError) as error:
            attempt += 1
            wait = wait_seconds(attempt, chance)
            logger.warning("relay: %s; attempt %d, again in %.1f s", error, attempt, wait)
            await asyncio.sleep(wait)


async def _round(outbox: Outbox, producer: Producer, clock: Callable[[], datetime]) -> None:
    await outbox.fire_timers(clock(), ROUND_RECORDS_MAX)
    owed = await outbox.pending(ROUND_RECORDS_MAX)
    if owed:
        await asyncio.to_thread(_publish, producer, owed)
        await outbox.settle([record.seq for record in owed])
    else:
        await outbox.woken(await _pause(outbox, clock))


def _publish(producer: Producer, owed: list[Any]) -> None:
    """One transaction; blocks until the log has it all or none of it."""
    producer.begin_transaction()
    for record in owed:
        producer.produce(record.topic, record.value, record.key, headers=record.headers)
    producer.commit_transaction(TRANSACTION_SECONDS_MAX)


async def _pause(outbox: Outbox, clock: Callable[[], datetime]) -> float:
    due = await outbox.next_due()
    if due is None:
        return IDLE_SECONDS_MAX
    return min(IDLE_SECONDS_MAX, max(0.0, (due - clock()).total_seconds()))


@asynccontextmanager
async def _producer(kafka: str) -> AsyncIterator[Producer]:
    """A transactional producer; whoever had its id before is fenced.

    Of confluent-kafka, because Tansu does not know aiokafka's form of the first request. What a
    failed round left open is aborted when the next producer of that id begins.
    """
    producer = Producer(
        {
            "bootstrap.servers": kafka,
            "transactional.id": TRANSACTIONAL_ID,
            "compression.type": "lz4",
            "linger.ms": 0,
            "message.max.bytes": limits.dead_letter_record_bytes_max,
            "partitioner": "murmur2_random",
            "log_level": 2,
        }
    )
    await asyncio.to_thread(producer.init_transactions, TRANSACTION_SECONDS_MAX)
    try:
        yield producer
    finally:
        await asyncio.to_thread(_drop, producer)


def _drop(producer: Producer) -> None:
    try:
        producer.abort_transaction(0.1)
    except KafkaException as error:
        logger.debug("nothing to abort: %s", error)


async def _forget_published(outbox: Outbox, kafka: str) -> None:
    """Settle what the last leader published and could not settle any more."""
    topics = await outbox.topics()
    if topics:
        known = await outbox.settle_published(await _published(kafka, topics))
        logger.info("%d records had been published before", known)


async def _published(kafka: str, topics: set[str]) -> set[tuple[str, str]]:
    """The identities at the ends of these topics' partitions."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=kafka,
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_partition_fetch_bytes=limits.dead_letter_record_bytes_max,
    )
    await consumer.start()
    try:
        found: set[tuple[str, str]] = set()
        for topic in topics:
            for partition in await _partitions(consumer, topic):
                found |= await _identities(consumer, aiokafka.TopicPartition(topic, partition))
        return found
    finally:
        await consumer.stop()


async def _partitions(consumer: Any, topic: str) -> list[int]:
    cluster = await consumer._client.fetch_all_metadata()
    return sorted(cluster.partitions_for_topic(topic) or ())


async def _identities(consumer: Any, place: Any) -> set[tuple[str, str]]:
    consumer.assign([place])
    end = (await consumer.end_offsets([place]))[place]
    begin = (await consumer.beginning_offsets([place]))[place]
    # Each transaction adds a marker, so twice the round covers the whole of the last one.
    consumer.seek(place, max(begin, end - 2 * ROUND_RECORDS_MAX))
    found: set[tuple[str, str]] = set()
    # What a fetch says of the end is right on every broker (see `ends`).
    while await consumer.position(place) < max(end, consumer.highwater(place) or 0):
        batches = await consumer.getmany(place, timeout_ms=200)
        for record in batches.get(place, ()):
            found.add((place.topic, _identity(place.topic, record)))
    return found


class _Id(msgspec.Struct):
    id: str


def _identity(topic: str, record: Any) -> str:
    if topic == dead_letters.TOPIC:
        return dead_letters.identity_of(record.headers)
    return msgspec.json.decode(record.value, type=_Id).id

"""The log on Kafka as the relay writes it: one transactional producer, one reader."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from threading import Event
from typing import Any, TypeVar

import aiokafka
import msgspec
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaError as KafkaCode
from confluent_kafka import KafkaException, Message, Producer

from projections import dead_letters
from projections.batch import Partition
from projections.log_identity import WAYS_OUT, LogMismatch
from projections.outbox import TIMER_TYPE, Name, Owed
from projections.store import Unavailable
from schemas import limits
from schemas.topics import TOPICS
from streams.ends import true_end
from streams.relay import PUBLISHED_TOPICS, Page

TRANSACTIONAL_ID = "streams-relay"

#: Milliseconds until the broker gives up the transaction of a relay that is gone: consumers with
#: read_committed wait behind it. A round takes milliseconds; a new leader ends it at once.
TRANSACTION_TIMEOUT_MS = 10_000

#: Seconds that this side waits: for the session, because right after its start a broker may need
#: some for the first one; for the records and for the end of a round, as long as the broker does.
SESSION_SECONDS_MAX = 30.0
ROUND_SECONDS_MAX = TRANSACTION_TIMEOUT_MS / 1000

#: Seconds after which a step that still waits looks whether it is wanted any more: a process that
#: is told to end does so though the broker hangs.
LOOK_SECONDS = 1.0

#: Seconds until a broker that answered that it is still busy is asked again.
AGAIN_SECONDS = 0.1

#: Records of one page of reading: what is held in memory, and one transaction of the database.
PAGE_RECORDS_MAX = 5_000

#: Milliseconds that one fetch may wait for records.
FETCH_WAIT_MS = 200

logger = logging.getLogger(__name__)

T = TypeVar("T")


class KafkaDerivedLog:
    """The derived topics of a Kafka cluster, in the session of one producer."""

    def __init__(self, kafka: str, producer: Producer) -> None:
        self._kafka = kafka
        self._producer = producer

    async def publish(self, owed: Sequence[Owed]) -> Mapping[Partition, int]:
        with _translated():
            return await _to_its_end(partial(_publish, self._producer, owed))

    async def standing(
        self, topics: Collection[str], positions: Mapping[Partition, int]
    ) -> AsyncIterator[Page]:
        with _translated():
            consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=self._kafka,
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="none",
                max_partition_fetch_bytes=limits.dead_letter_record_bytes_max,
                fetch_max_wait_ms=FETCH_WAIT_MS,
            )
            await consumer.start()
            try:
                await self._begin(consumer, topics, positions)
                async for page in _pages(consumer):
                    yield page
            finally:
                await consumer.stop()

    async def _begin(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        topics: Collection[str],
        positions: Mapping[Partition, int],
    ) -> None:
        """Assign the partitions of the topics and seek each to where its reading begins."""
        cluster = await consumer._client.fetch_all_metadata()
        places = [
            aiokafka.TopicPartition(topic, partition)
            for topic in sorted(topics)
            for partition in sorted(cluster.partitions_for_topic(topic) or ())
        ]
        if not places:
            return
        consumer.assign(places)
        begins = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            at = positions.get(Partition(*place))
            if at is None:
                at = begins[place] if place.topic in PUBLISHED_TOPICS else ends[place]
            elif at > ends[place]:
                await self._check(Partition(*place), at, ends[place])
            consumer.seek(place, max(at, begins[place]))

    async def _check(self, place: Partition, at: int, bound: int) -> None:
        end = await true_end(self._kafka, place, bound)
        if at > end:
            raise LogMismatch(
                f"at {self._kafka} {place.topic}:{place.partition} ends at {end}, but the relay has"
                f" published up to {at}: its end was lost, or this is another log. {WAYS_OUT}"
            )


@asynccontextmanager
async def kafka_log(kafka: str) -> AsyncIterator[KafkaDerivedLog]:
    """A transactional producer's session; whoever had its id before is fenced.

    Of confluent-kafka, because Tansu does not know aiokafka's form of the first request. What a
    predecessor left open is aborted before the block begins.

    Raises:
        Unavailable: the broker does not answer.
    """
    producer = Producer(
        {
            "bootstrap.servers": kafka,
            "transactional.id": TRANSACTIONAL_ID,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            "compression.type": "lz4",
            "linger.ms": 0,
            "message.max.bytes": limits.dead_letter_record_bytes_max,
            "partitioner": "murmur2_random",
            "log_level": 2,
        }
    )
    with _translated():
        await _to_its_end(partial(_patiently, producer.init_transactions, SESSION_SECONDS_MAX))
    try:
        yield KafkaDerivedLog(kafka, producer)
    finally:
        await asyncio.to_thread(_drop, producer)


@contextmanager
def _translated() -> Any:
    try:
        yield
    except (KafkaError, KafkaException) as error:
        raise Unavailable(f"Kafka: {error}") from error


async def _to_its_end(step: Callable[[Event], T]) -> T:
    """Run a blocking step of the producer in a thread; whoever is cancelled waits for it.

    Dropping the producer while another thread commits would leave open what came of it. A step
    that waits for a broker in vain looks at the event that it is given, and gives up.
    """
    unwanted = Event()
    running = asyncio.ensure_future(asyncio.to_thread(step, unwanted))
    running.add_done_callback(_looked_at)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        unwanted.set()
        await asyncio.wait([running])
        raise


def _looked_at(step: asyncio.Future[Any]) -> None:
    """What a step ends with after nobody waits for it any more is no news."""
    if not step.cancelled():
        step.exception()


#: What a broker says that is still busy, or that has just started.
_PASSING = (KafkaCode._TIMED_OUT, KafkaCode.COORDINATOR_LOAD_IN_PROGRESS)


def _patiently(step: Callable[[float], Any], seconds: float, unwanted: Event) -> None:
    """Call a step that takes how long to wait until it is done; a new call goes on with the old."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            step(LOOK_SECONDS)
        except KafkaException as error:
            code = error.args[0].code()
            waits = code in _PASSING and error.args[0].retriable()
            if not waits or unwanted.is_set() or time.monotonic() > deadline:
                raise
            if code != KafkaCode._TIMED_OUT:  # which has waited by itself
                unwanted.wait(AGAIN_SECONDS)
        else:
            return


def _publish(producer: Producer, owed: Sequence[Owed], unwanted: Event) -> dict[Partition, int]:
    """One transaction; blocks until the log has it all or none of it."""
    ends: dict[Partition, int] = {}

    def delivered(error: Any, message: Message) -> None:
        if error is None:
            place = Partition(message.topic() or "", message.partition() or 0)
            ends[place] = max(ends.get(place, 0), (message.offset() or 0) + 1)

    producer.begin_transaction()
    for record in owed:
        producer.produce(
            record.topic,
            record.value,
            record.key,
            headers=list(record.headers),
            on_delivery=delivered,
        )
    # Sends what is left and serves the reports of delivery; what failed makes it fail.
    _patiently(producer.commit_transaction, ROUND_SECONDS_MAX, unwanted)
    return ends


def _drop(producer: Producer) -> None:
    try:
        producer.abort_transaction(0.1)
    except KafkaException as error:
        logger.debug("nothing to abort: %s", error)


async def _pages(consumer: aiokafka.AIOKafkaConsumer) -> AsyncIterator[Page]:
    """Pages up to where each partition ended when it was first looked at."""
    # What a fetch says of the end is right on every broker (see `ends`). It is the end of all
    # records: what lies behind another producer's open transaction is waited for.
    ends: dict[Any, int] = {}
    waiting = set(consumer.assignment())
    while waiting:
        batches = await consumer.getmany(
            *waiting, timeout_ms=FETCH_WAIT_MS, max_records=PAGE_RECORDS_MAX
        )
        names: set[Name] = set()
        for records in batches.values():
            names.update(name for record in records if (name := name_of(record)) is not None)
        positions = {place: await consumer.position(place) for place in waiting}
        for place in waiting:
            highwater = consumer.highwater(place)
            if highwater is not None:
                ends.setdefault(place, highwater)
        left = sum(max(0, ends[place] - positions[place]) for place in waiting if place in ends)
        yield Page(names, {Partition(*place): at for place, at in positions.items()}, left)
        waiting = {place for place in waiting if positions[place] < ends.get(place, 1 << 63)}


class _Identified(msgspec.Struct):
    id: str
    type: str


def name_of(record: Any) -> Name | None:
    """What tells a published record apart; None for a record that no relay has published."""
    if record.topic == dead_letters.TOPIC:
        return record.topic, dead_letters.identity_of(record.headers)
    retried = dead_letters.retry_of(record.headers)
    if retried is not None:
        return record.topic, retried
    if record.value is None:
        return None
    try:
        event = msgspec.json.decode(record.value, type=_Identified)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    ours = TOPICS[record.topic].derived or event.type == TIMER_TYPE
    return (record.topic, event.id) if ours else None

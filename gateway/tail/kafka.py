"""The Kafka client of the tail, and where its errors get our names."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from gateway.log import Place
from projections.store import Unavailable

#: What one answer of a broker may hold, per partition and in all: the memory of one reader.
FETCH_BYTES_MAX = 8 * 1024 * 1024
PARTITION_FETCH_BYTES_MAX = 1024 * 1024

REQUEST_SECONDS_MAX = 5.0

#: How a reader is busy: so many answers with records, one after the other, this often. From then on
#: a broker gathers records for some milliseconds, or until there are so many bytes, before it
#: answers: each request names every partition, which costs the same however little it brings.
BUSY_ROUNDS = 20
BUSY_SECONDS = BUSY_ROUNDS * 0.012
GATHER_MS = 8
GATHER_BYTES = 256 * 1024

Consumer = Any
Tp = TopicPartition


class LogChanged(Exception):
    """The log does not have these offsets: it is another log, or its beginning has moved."""


@asynccontextmanager
async def consumer(kafka: str, name: str, fetch_wait_ms: int) -> AsyncIterator[Consumer]:
    """A consumer without a group that sees committed records only; closed with the block.

    Raises:
        Unavailable: no broker answers.
    """
    client = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        client_id=name,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        fetch_max_wait_ms=fetch_wait_ms,
        fetch_max_bytes=FETCH_BYTES_MAX,
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX,
        request_timeout_ms=int(REQUEST_SECONDS_MAX * 1000),
    )
    try:
        async with translated():
            await client.start()
        yield client
    finally:
        await client.stop()


class Pace:
    """How long the broker may gather records for a consumer: not at all for one that waits."""

    def __init__(self, client: Consumer, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetcher = client._fetcher
        self._clock = clock
        self._idle = (self._fetcher._fetch_min_bytes, self._fetcher._fetch_max_wait_ms)
        self._rounds: deque[float] = deque(maxlen=BUSY_ROUNDS)

    def note(self, found: bool) -> None:
        """Whether there were records when they were asked for."""
        now = self._clock()
        if found:
            self._rounds.append(now)
        else:
            self._rounds.clear()
        busy = len(self._rounds) == BUSY_ROUNDS and now - self._rounds[0] < BUSY_SECONDS
        # aiokafka reads both anew for each request, and offers no other way to change them.
        wanted = (GATHER_BYTES, GATHER_MS) if busy else self._idle
        self._fetcher._fetch_min_bytes, self._fetcher._fetch_max_wait_ms = wanted


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Errors of the driver become ours."""
    try:
        yield
    except OffsetOutOfRangeError as error:
        raise LogChanged(str(error)) from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka does not answer: {error or type(error).__name__}") from error


async def partition_counts(kafka: str, topics: Collection[str]) -> dict[str, int]:
    """How many partitions each of these topics has.

    Raises:
        Unavailable: no broker answers, or a topic is not there.
    """
    client = AIOKafkaAdminClient(
        bootstrap_servers=kafka, request_timeout_ms=int(REQUEST_SECONDS_MAX * 1000)
    )
    try:
        async with translated():
            await client.start()
            # Of all topics: asking for one by name may make it.
            found = await client.describe_topics()
    finally:
        await client.close()
    counts = {each["topic"]: len(each["partitions"]) for each in found}
    missing = [topic for topic in topics if not counts.get(topic)]
    if missing:
        raise Unavailable(f"there are no topics yet named {', '.join(missing)}")
    return {topic: counts[topic] for topic in topics}


async def name_of_log(kafka: str, topics: Collection[str]) -> str:
    """What tells this log from any other: the ids of its topics, which no other topics ever have.

    Raises:
        Unavailable: no broker answers, or a topic is not there.
    """
    return await asyncio.to_thread(_name_of_log, kafka, sorted(topics))


def _name_of_log(kafka: str, topics: list[str]) -> str:
    # aiokafka speaks no version of the protocol that has the ids.
    settings: dict[str, Any] = {
        "bootstrap.servers": kafka,
        "log_level": 0,
        # The call that fails says it, too.
        "error_cb": lambda _error: None,
    }
    client = AdminClient(settings)
    try:
        found = client.describe_topics(TopicCollection(topics), request_timeout=REQUEST_SECONDS_MAX)
        return " ".join(str(found[topic].result().topic_id) for topic in topics)
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer: {error.args[0].str()}") from error


async def near_ends_of(client: Consumer, places: Collection[Place]) -> Mapping[Place, int]:
    """An offset in each place that lies at its end, or just behind the beginning of its last
    batch: that is what Tansu names (Apache Kafka names the end). Raises Unavailable."""
    if not places:
        return {}
    async with translated():
        found = await client.end_offsets([Tp(*place) for place in places])
    return {(tp.topic, tp.partition): offset for tp, offset in found.items()}


async def stands_at(client: Consumer, place: Place) -> int:
    """The next offset that an assigned consumer will read in this place."""
    return int(await client.position(Tp(*place)))


def end_seen(client: Consumer, place: Place) -> int:
    """The end of the log that the last answer for this place told; 0 before the first."""
    return client.highwater(Tp(*place)) or 0


async def beginnings_of(client: Consumer, places: Collection[Place]) -> Mapping[Place, int]:
    """The first offset that each place still has; raises Unavailable."""
    async with translated():
        found = await client.beginning_offsets([Tp(*place) for place in places])
    return {(tp.topic, tp.partition): offset for tp, offset in found.items()}


def readable_end(client: Consumer, place: Place) -> int:
    """The same without what stands in transactions that are still open."""
    return client.last_stable_offset(Tp(*place)) or 0

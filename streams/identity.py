"""Whether the log is still the one that the checkpoints are of.

A broker may come back empty under its old address, a topic may be made anew under its old name:
offsets then mean other records. Apache Kafka tells logs apart by the ids of clusters and topics.
Tansu calls every cluster alike, but gives each topic an id of its own when it is made, so two logs
in memory differ in all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from projections.backoff import until_available
from projections.batch import Partition
from projections.log_identity import Identities, LogMismatch, Span, TopicIdentity, compare
from projections.store import Unavailable
from schemas.topics import TOPICS
from streams.ends import true_end
from streams.topics import ANSWER_SECONDS_MAX, create_admin

#: Seconds between two looks of a worker that runs: a topic made anew under its name gives fetches
#: no error once it is long enough.
WATCH_SECONDS = 5.0

#: How often, and after how many seconds, a topic is asked for again before it counts as gone: a
#: broker that has just started may not know all of them yet.
GONE_QUESTIONS = 5
GONE_SECONDS = 1.0

#: How the admin client writes the id of all zeros, which stands for none.
_NO_ID = "A" * 22


class SameLog:
    """Compares the broker's topics with what is kept beside the checkpoints."""

    def __init__(
        self,
        kafka: str,
        identities: Identities,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._kafka = kafka
        self._identities = identities
        self._sleep = sleep
        self._admin = create_admin(kafka)

    async def begin(self) -> None:
        """Compare at the start of a process, which does not wait for what does not answer.

        Raises:
            LogMismatch: a topic that is known is another one now, or is gone.
            Unavailable: the broker or the database does not answer.
        """
        known = await self._identities.known()
        await self._compare(known, await self._found(known))

    async def check(self) -> None:
        """Compare; what was not known yet is learned. Waits for broker and database.

        Raises:
            LogMismatch: a topic that is known is another one now, or is gone.
        """
        await until_available("which log is it", self.begin, self._sleep)

    async def watch(self, fail: Callable[[BaseException], None]) -> None:
        """Compare again and again until cancelled, or until ``fail`` was told of a mismatch."""
        while True:
            await self._sleep(WATCH_SECONDS)
            try:
                await self.check()
            except LogMismatch as error:
                fail(error)
                return

    async def _compare(
        self, known: Mapping[str, TopicIdentity], found: Mapping[str, TopicIdentity]
    ) -> None:
        compare(known, found, self._kafka)
        fresh = {topic: identity for topic, identity in found.items() if topic not in known}
        if fresh:
            await self._identities.learn(fresh)

    async def _found(self, known: Mapping[str, TopicIdentity]) -> dict[str, TopicIdentity]:
        for _ in range(GONE_QUESTIONS):
            found = await asyncio.to_thread(_identities_of, self._admin, self._kafka)
            if known.keys() <= found.keys():
                break
            await self._sleep(GONE_SECONDS)
        return found


def identities_of(kafka: str) -> dict[str, TopicIdentity]:
    """The identity of each of our topics that is there.

    Raises:
        Unavailable: no broker answers.
    """
    return _identities_of(create_admin(kafka), kafka)


def _identities_of(admin: AdminClient, kafka: str) -> dict[str, TopicIdentity]:
    try:
        asked: TopicCollection = TopicCollection(list(TOPICS))
        cluster = admin.describe_cluster(request_timeout=ANSWER_SECONDS_MAX)
        topics = admin.describe_topics(asked, request_timeout=ANSWER_SECONDS_MAX)
        cluster_id = str(cluster.result().cluster_id or "")
        found = {}
        for name, future in topics.items():
            try:
                found[name] = TopicIdentity(cluster_id, _written(future.result().topic_id))
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
    except KafkaException as error:
        raise Unavailable(f"{kafka} does not answer: {error.args[0].str()}") from error
    return found


def _written(topic_id: object) -> str:
    """As Kafka's tools write it: base64 for URLs, unpadded."""
    text = str(topic_id).replace("+", "-").replace("/", "_")
    return "" if text == _NO_ID else text


async def spans(
    kafka: str,
    offsets: Mapping[Partition, int],
    begins: Mapping[Partition, int],
    ends: Mapping[Partition, int],
) -> dict[Partition, Span]:
    """What these partitions hold, as the broker tells it, looked up where an offset lies beyond.

    ``begins`` and ``ends`` are its answers, which may name too small an end (see `ends`).
    """
    found = {}
    for place, offset in offsets.items():
        # A partition of aiokafka equals ours of the same name and number.
        begin, end = begins.get(place, 0), ends.get(place, 0)
        found[place] = Span(begin, end if offset <= end else await true_end(kafka, place, end))
    return found

"""The log as a plain consumer follows it: the witnesses' own eyes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from projections.batch import Partition
from schemas.codec import RawRecord
from schemas.limits import partitions_embedded
from tests.faults.parts import Broken

#: How long one look for records blocks, and how often somebody who waits for an offset looks.
POLL_SECONDS = 0.1
LOOK_SECONDS = 0.05

#: A broker may be away for a while; what a checkpoint names must be in the log at last.
REACHED_SECONDS_MAX = 120.0


class Following:
    """Records of some topics by partition, from the beginning, as far as they have come."""

    def __init__(self, kafka: str, topics: Sequence[str]) -> None:
        self.records: dict[Partition, list[RawRecord]] = {
            Partition(topic, number): []
            for topic in topics
            for number in range(partitions_embedded)
        }
        self._reached = dict.fromkeys(self.records, 0)
        self._kafka = kafka
        self._stop = threading.Event()
        self._broken: str | None = None

    async def upto(self, ends: Mapping[Partition, int]) -> None:
        """Return when all records below these offsets are there.

        Raises:
            Broken: the log does not have them, or gives them no more.
        """
        try:
            async with asyncio.timeout(REACHED_SECONDS_MAX):
                while any(self._reached[place] < end for place, end in ends.items()):
                    if self._broken:
                        raise Broken(self._broken)
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            missing = {str(place): end for place, end in ends.items() if self._reached[place] < end}
            raise Broken(
                f"the log does not reach {missing} after {REACHED_SECONDS_MAX:g} s"
            ) from None

    def follow(self) -> None:
        """Read until told to stop; a broker that is away is waited for by the client itself."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._kafka,
                "group.id": "faults-witness",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "log_level": 0,
            }
        )
        try:
            consumer.assign([TopicPartition(*place, 0) for place in self.records])
            while not self._stop.is_set():
                message = consumer.poll(POLL_SECONDS)
                if message is not None:
                    self._take(message)
        finally:
            consumer.close()

    def stop(self) -> None:
        self._stop.set()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._reach(message)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                self._broken = f"the log gives {message.topic()} no more: {error.str()}"
            return
        timestamp = message.timestamp()[1]
        place = Partition(message.topic() or "", message.partition() or 0)
        offset = message.offset() or 0
        self.records[place].append(
            RawRecord(
                *place,
                offset,
                message.key(),
                message.value(),
                list(message.headers() or []),
                timestamp,
            )
        )
        self._reached[place] = max(self._reached[place], offset + 1)

    def _reach(self, message: Message) -> None:
        place = Partition(message.topic() or "", message.partition() or 0)
        self._reached[place] = max(self._reached[place], message.offset() or 0)


@asynccontextmanager
async def following(kafka: str, topics: Sequence[str]) -> AsyncIterator[Following]:
    """Follow these topics for as long as the block lasts."""
    log = Following(kafka, topics)
    thread = threading.Thread(target=log.follow, name="faults-following", daemon=True)
    thread.start()
    try:
        yield log
    finally:
        log.stop()
        await asyncio.to_thread(thread.join)

"""Drafts into librdkafka's queue, and its delivery reports back into positions.

There is no future per event: a batch counts its reports, and whoever waits for it is told once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client

from schemas.codec import RawRecord, Unreadable, decode_batch
from schemas.envelope import HEADERS, Draft, document_of, key_of, topic_of
from schemas.errors import FieldError, Invalid, InvalidEvent
from schemas.position import Position
from streams.producer.errors import (
    BrokerAway,
    DeliveryUnknown,
    EventTooLarge,
    InvalidDraft,
    NotAccepted,
    ProducerError,
    TopicMissing,
)
from streams.producer.settings import (
    CONNECT_SECONDS_MAX,
    REFUSED_SECONDS_MAX,
    ProducerSettings,
)

UNKNOWN_OUTCOME = frozenset(
    {
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._PURGE_QUEUE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    }
)
MISSING = frozenset(
    {
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

logger = logging.getLogger(__name__)

_HEADERS: list[tuple[str, str | bytes | None]] = list(HEADERS)


class Outgoing(NamedTuple):
    """A draft as it goes into the queue."""

    topic: str
    key: bytes | None
    value: bytes | None


class Batch:
    """The drafts of one call: what became of each, and how many are still on their way."""

    def __init__(self, size: int, done: Callable[[], None]) -> None:
        self.positions: list[Position | None] = [None] * size
        self._errors: dict[int, KafkaError] = {}
        self._missing = size
        self._done = done
        # Reports come from the thread that polls and, for what the client refuses outright,
        # from the one that sends.
        self._lock = Lock()

    @property
    def finished(self) -> bool:
        """Whether every event's fate is known."""
        return self._missing == 0

    def report(self, index: int, error: KafkaError | None, message: Any) -> None:
        """librdkafka's word on one event; called by whoever polls the client."""
        if error is not None:
            self._errors[index] = error
        elif (offset := message.offset()) >= 0:
            self.positions[index] = Position(message.topic(), message.partition(), offset)
        # An offset below zero: a repeat of something already appended, whose place the broker
        # no longer knows. It stays None without an error, which is an unknown delivery.
        with self._lock:
            self._missing -= 1
            complete = self._missing == 0
        if complete:
            self._done()

    def result(self, settings: ProducerSettings) -> list[Position]:
        """All positions, or the worst of what went wrong."""
        positions = [position for position in self.positions if position is not None]
        if len(positions) == len(self.positions):
            return positions
        raise _error(self.positions, self._errors, settings)


def encode_all(drafts: Sequence[Draft], tenant: str) -> list[Outgoing]:
    """Every draft as a record; raises InvalidDraft for the first that is not valid.

    What is asked is what every reader will ask: the records are decoded as they will be from
    the log, the moment of ingestion being now.
    """
    now_ms = time.time_ns() // 1_000_000
    records = [_record(index, draft, tenant, now_ms) for index, draft in enumerate(drafts)]
    for index, seen in enumerate(decode_batch(records, tenant=tenant)):
        if isinstance(seen, Unreadable):
            raise InvalidDraft(index, seen.errors)
    return [Outgoing(record.topic, record.key, record.value) for record in records]


def _record(index: int, draft: Draft, tenant: str, now_ms: int) -> RawRecord:
    try:
        topic, key = topic_of(draft).name, key_of(draft)
        value = msgspec.json.encode(document_of(draft, tenant))
    except InvalidEvent as error:
        raise InvalidDraft(index, error.errors) from None
    except (Invalid, UnicodeEncodeError) as error:
        raise InvalidDraft(index, [FieldError("data", str(error))]) from None
    return RawRecord(topic, 0, 0, key, value, HEADERS, now_ms)


def enqueue(client: Client, batch: Batch, records: Sequence[Outgoing], start: int) -> int:
    """Put records from `start` on into the queue; returns how many fitted.

    A record that the client refuses outright is reported to the batch like a failed delivery.
    """
    produce = client.produce
    index = start
    for index in range(start, len(records)):
        topic, key, value = records[index]
        try:
            produce(
                topic,
                value,
                key,
                headers=_HEADERS,
                on_delivery=partial(batch.report, index),
            )
        except BufferError:
            return index - start
        except KafkaException as error:
            batch.report(index, error.args[0], None)
    return len(records) - start


def connect(settings: ProducerSettings) -> Client:
    """A client that has spoken with a broker. Raises BrokerAway.

    Blocks up to CONNECT_SECONDS_MAX, and less when every address refuses connections.
    """
    told: list[KafkaError] = []

    def remember(error: KafkaError) -> None:
        told.append(error)
        logger.debug("librdkafka: %s", error.str())

    client = Client({**settings.librdkafka(), "error_cb": remember}, logger=_silent)
    for seconds in (REFUSED_SECONDS_MAX, CONNECT_SECONDS_MAX - REFUSED_SECONDS_MAX):
        try:
            client.list_topics(timeout=seconds)
            return client
        except KafkaException as error:
            client.poll(0)
            detail = told[0].str() if told else error.args[0].str()
            if any(one.code() == KafkaError._ALL_BROKERS_DOWN for one in told):
                break
    raise BrokerAway(settings.bootstrap, detail)


# librdkafka's own lines would go to standard error; what matters of them comes back as errors.
_silent = logging.getLogger(f"{__name__}.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def _error(
    positions: Sequence[Position | None],
    errors: dict[int, KafkaError],
    settings: ProducerSettings,
) -> ProducerError:
    lost = positions.count(None)
    some = f"{lost} of {len(positions)} events"
    for error in errors.values():
        code = error.code()
        if code in TOO_LARGE:
            return EventTooLarge(f"{some}: too large for the broker: {error.str()}", positions)
        if code in MISSING:
            return TopicMissing(
                f"{some} have no topic to go to ({error.str()}): streams topics create", positions
            )
        if code not in UNKNOWN_OUTCOME:
            return NotAccepted(f"{some} were refused: {error.str()}", positions)
    return DeliveryUnknown(
        f"{settings.bootstrap} did not confirm {some} within {settings.delivery_seconds_max:g} s: "
        "they may be in the log; send them again with the same ids, that is harmless",
        positions,
    )

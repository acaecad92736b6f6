"""Drafts into librdkafka's queue, and its delivery reports back into positions.

There is no future per event: a batch counts its reports, and whoever waits for it is told once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client

from schemas.codec import Encoded, encode_each
from schemas.envelope import HEADERS, Draft
from schemas.errors import InvalidEvent
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

ENCODED_AT_ONCE_MAX = 500
"""Events encoded before other tasks get their turn: some milliseconds' worth. More at once would
not be quicker: what is decoded to be looked at no longer fits into the processor's caches."""

_HEADERS: list[tuple[str, str | bytes | None]] = list(HEADERS)


class Batch:
    """The records of one call: what became of each, and how many are still on their way."""

    def __init__(self, records: Sequence[Encoded], done: Callable[[], None]) -> None:
        # The records themselves are the client's now.
        self._topics = [record.topic for record in records]
        # Of what is in the log: (partition, offset). Positions are made when they are asked for.
        self._places: list[tuple[int, int] | None] = [None] * len(records)
        self._errors: dict[int, KafkaError] = {}
        self._last = len(records)
        # Reports come from the thread that polls and, for what the client refuses outright, from
        # the one that sends. Counting is one step of the interpreter, so that each of them gets
        # its own number.
        self._number = count(1)
        self._done = done
        self.finished = not records
        """Whether every event's fate is known."""

    def report(self, index: int, error: KafkaError | None, message: Any) -> None:
        """librdkafka's word on one event; called by whoever polls the client."""
        if error is not None:
            self._errors[index] = error
        elif (offset := message.offset()) >= 0:
            self._places[index] = (message.partition(), offset)
        # An offset below zero: a repeat of something already appended, whose place the broker
        # no longer knows. It stays None without an error, which is an unknown delivery.
        if next(self._number) == self._last:
            self.finished = True
            self._done()

    def __len__(self) -> int:
        return self._last

    @property
    def positions(self) -> list[Position | None]:
        """Where each event is in the log, as far as that is known."""
        return [
            None if place is None else Position(topic, *place)
            for topic, place in zip(self._topics, self._places, strict=True)
        ]

    def check(self, settings: ProducerSettings) -> None:
        """Raise the worst of what went wrong, if anything did."""
        if None in self._places:
            raise _error(self.positions, self._errors, settings)

    def result(self, settings: ProducerSettings) -> list[Position]:
        """All positions, or the worst of what went wrong."""
        self.check(settings)
        return [position for position in self.positions if position is not None]


def encode_all(drafts: Sequence[Draft], tenant: str) -> list[Encoded]:
    """Every draft as a record; raises InvalidDraft for the first that is not valid."""
    events: list[Encoded] = []
    for start in range(0, len(drafts), ENCODED_AT_ONCE_MAX):
        events += encode(drafts[start : start + ENCODED_AT_ONCE_MAX], tenant, start)
    return events


def encode(drafts: Sequence[Draft], tenant: str, start: int) -> list[Encoded]:
    """The same of some drafts of a call, the first of which is its `start`-th."""
    events: list[Encoded] = []
    now_ms = time.time_ns() // 1_000_000
    for index, event in enumerate(encode_each(drafts, now_ms, tenant=tenant), start):
        if isinstance(event, InvalidEvent):
            raise InvalidDraft(index, event.errors)
        events.append(event)
    return events


def enqueue(client: Client, batch: Batch, records: Sequence[Encoded], start: int) -> int:
    """Put records from `start` on into the queue; returns how many fitted.

    A record that the client refuses outright is reported to the batch like a failed delivery.
    """
    produce, report = client.produce, batch.report
    for index in range(start, len(records)):
        record = records[index]
        try:
            produce(
                record.topic,
                record.value,
                record.key,
                headers=_HEADERS,
                on_delivery=partial(report, index),
            )
        except BufferError:
            return index - start
        except KafkaException as error:
            report(index, error.args[0], None)
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

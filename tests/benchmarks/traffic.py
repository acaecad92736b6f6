"""Mixed traffic as records ready in memory, and a fast way to get them into the log.

A small world of `streams.simulate` lives its history, and every event of it is encoded by our own
producer's codec. More people are copies of that world under other names and other ids: each copy
has the same kinds of people doing the same things, so proportions stay those of the simulator.
What has no person (prices, fixings) happens once.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from schemas.codec import encode
from schemas.envelope import HEADERS, Draft, key_of, topic_of
from schemas.topics import MARKET_FX, MARKET_PRICES
from streams.producer import ProducerSettings
from streams.simulate.config import Config
from streams.simulate.world import World

SEED = "1"
UNTIL = datetime(2026, 1, 1, tzinfo=UTC)
MONTHS = 24
"""Length of the history that a world has in it: some 1,400 events for each of its people."""

WORLD_PEOPLE = 250
"""People of the world that is copied. Simulating and encoding an event costs fifty times as much
as copying it."""

WINDOW = 200
"""So many events of one copy follow each other before the next copy has its turn."""

RULES_SOURCE = "/app/front-end"

LINGER_MS = 20
PROGRESS_SECONDS = 1.0
FLUSH_SECONDS_MAX = 300.0
POLLED_EVENTS = 1_000

_NAME = rb"(?:usr|acc|vy|txn|trf|ord|rule|trd)_[0-9]+|sess_[0-9a-f]{16}"
_UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_MARKED = re.compile(rb"%|" + _NAME + rb"|" + _UUID)

#: Hexadecimal digits at the end of an id in which copies differ: room for 16 million copies.
_ID_DIGITS = 6
_SHARED = frozenset({MARKET_PRICES.name, MARKET_FX.name})


class Record(NamedTuple):
    """A record as it goes to the broker."""

    topic: str
    key: bytes | None
    value: bytes


class _Original(NamedTuple):
    """An encoded event, and the places in it where copies differ."""

    record: Record
    #: Key, NUL and value as a format, with a place for each name and id.
    form: bytes
    #: For each of these places: the id's last digits, or None for a name.
    places: list[int | None]

    def copy(self, number: int) -> Record:
        """The same event of another copy of the world; copy 0 is the original."""
        if number == 0:
            return self.record
        suffix = b"x%d" % number
        filled = self.form % tuple(
            suffix if digits is None else digits ^ number for digits in self.places
        )
        key, _, value = filled.partition(b"\0")
        return Record(self.record.topic, key or None, value)


def mixed(people: int, events: int, rules: int = 0, *, seed: str = SEED) -> Iterator[Record]:
    """So many events of about so many people, after the commands that make so many rules.

    The rules are of other people and other symbols than the events: none of them can match.

    Raises:
        ValueError: the history of so few people has not so many events.
    """
    yield from rule_commands(rules)
    made = 0
    for record in islice(_history(people, seed), events):
        made += 1
        yield record
    if made < events:
        raise ValueError(f"{people} people have {made:,} events in {MONTHS} months, not {events:,}")


def _history(people: int, seed: str) -> Iterator[Record]:
    world = World(Config(min(people, WORLD_PEOPLE), MONTHS, UNTIL, seed))
    copies = -(-people // WORLD_PEOPLE)
    drafts = world.history()
    while window := [_original(draft) for draft in islice(drafts, WINDOW)]:
        for number in range(copies):
            for original in window:
                if number == 0 or original.record.topic not in _SHARED:
                    yield original.copy(number)


def record_of(draft: Draft) -> Record:
    """A draft as our producer would send it."""
    return Record(topic_of(draft).name, key_of(draft), encode(draft))


def _original(draft: Draft) -> _Original:
    record = record_of(draft)
    places: list[int | None] = []

    def mark(found: re.Match[bytes]) -> bytes:
        text = found[0]
        if text == b"%":
            return b"%%"
        if text[8:9] != b"-":
            places.append(None)
            return text + b"%b"
        places.append(int(text[-_ID_DIGITS:], 16))
        return text[:-_ID_DIGITS] + b"%06x"

    form = _MARKED.sub(mark, (record.key or b"") + b"\0" + record.value)
    return _Original(record, form, places)


def rule_commands(rules: int) -> Iterator[Record]:
    """Commands that make active rules of people who do nothing else, on accounts and symbols of
    which nothing is ever heard: one each on transactions, a balance and a price for a person."""
    originals = [_original(_rule(*given)) for given in enumerate(_TRIGGERS, start=1)]
    for number in range(rules):
        yield originals[number % len(originals)].copy(number // len(originals) + 1)


_TRIGGERS: tuple[dict[str, str], ...] = (
    {"type": "transaction", "account": "acc_900000_main", "direction": "debit"},
    {"type": "balance", "account": "acc_900000_main", "below": "100.00"},
    # A symbol in the form of a name, so that each copy has its own.
    {"type": "market_condition", "symbol": "vy_900000", "below": "1.00"},
)


def _rule(number: int, trigger: dict[str, str]) -> Draft:
    definition: dict[str, Any] = {
        "name": "Tell me",
        "status": "active",
        "trigger": trigger,
        "conditions": [],
        "actions": [{"type": "notify", "priority": "low", "message": "It happened"}],
        "requiresApproval": False,
        "cooldownSeconds": 0,
        "maxExecutionsPerDay": 10,
        "timezone": "UTC",
        "expiresAt": None,
    }
    return Draft(
        type="app.rule.created.v1",
        source=RULES_SOURCE,
        data={"rule": f"rule_{number}", "version": 1, "definition": definition},
        user_id="usr_900000",
        subject=f"rule_{number}",
        time=UNTIL,
        id=f"019b7600-0000-7000-8000-0000{number:02x}000000",
    )


class PrefillFailed(Exception):
    """The broker did not take every record."""


def prefill(kafka: str, records: Iterable[Record], title: str) -> int:
    """Append the records as fast as the broker takes them; returns how many.

    Progress goes to standard error. Raises PrefillFailed.
    """
    refused: list[KafkaError] = []

    def report(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            refused.append(error)

    producer = bulk_producer(kafka)
    sent, begin = 0, time.monotonic()
    shown = begin
    for record in records:
        _produce(producer, record, report)
        sent += 1
        if sent % POLLED_EVENTS == 0:
            producer.poll(0)
            if (now := time.monotonic()) - shown > PROGRESS_SECONDS:
                shown = now
                tell(f"{title}: {sent:,} in the log ({sent / (now - begin):,.0f}/s)")
    left = producer.flush(FLUSH_SECONDS_MAX)
    if left or refused:
        why = refused[0].str() if refused else "no answer"
        raise PrefillFailed(f"{left + len(refused):,} of {sent:,} records: {why}")
    tell(f"{title}: {sent:,} in the log")
    return sent


def bulk_producer(kafka: str, linger_ms: float = LINGER_MS) -> Producer:
    """A client set up as our own producer's, with a longer wait for full batches."""
    settings = ProducerSettings(kafka, client_id="benchmark", linger_ms=linger_ms)
    return Producer({**settings.librdkafka(), "delivery.report.only.error": True})


def _produce(producer: Producer, record: Record, report: Any) -> None:
    headers: Any = list(HEADERS)
    while True:
        try:
            producer.produce(
                record.topic, record.value, record.key, headers=headers, on_delivery=report
            )
            return
        except BufferError:
            producer.poll(0.05)
        except KafkaException as error:
            raise PrefillFailed(str(error)) from error


def tell(line: str) -> None:
    """A line of progress: one that is written over on a terminal, else a line of its own."""
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"  {line:<70}", end=end, file=sys.stderr, flush=True)

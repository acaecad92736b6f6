"""The producer's own speed: typed events that lie ready in memory, until the broker has them."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Producer as Client

from schemas.envelope import HEADERS, Draft, document_of, key_of, now, topic_of
from schemas.events.bank import TransactionPosted
from streams.producer import ProducerSettings, SyncProducer
from tests.benchmarks import past
from tests.benchmarks.measure import Meter, Usage, figure
from tests.benchmarks.options import Options
from tests.benchmarks.report import Report
from tests.benchmarks.stand import Stand, stand

NAME = "producing"
SUMMARY = "events/s of the producer, from typed events in memory to a broker that has them"

EVENTS = 300_000
PEOPLE = 2_000

#: Events handed over in one call: what somebody who sends many has in hand.
SENT_AT_ONCE = 5_000

#: Calls to the client between two looks for its delivery reports.
POLLED_EACH = 1_000


class Sent(NamedTuple):
    """One contestant's run."""

    rate: float
    cpu_seconds_per_100k: float
    broker_seconds_per_100k: float
    peak_mib: float


#: Sends all, and returns how many the log has when all are settled.
Send = Callable[[Stand, Sequence[Any]], int]


def run(options: Options, report: Report) -> None:
    drafts = _drafts(options.scaled(EVENTS, 1_000))
    wired = [_as_on_the_wire(draft) for draft in drafts]
    ready = [(topic_of(d).name, key_of(d), msgspec.json.encode(document_of(d))) for d in drafts]
    contestants: dict[str, tuple[Send, Sequence[Any]]] = {
        "SDK, typed data (models)": (_sdk, drafts),
        "SDK, data as on the wire (dicts)": (_sdk, wired),
        "SDK, one call at a time": (_sdk_one_call, drafts),
        "confluent-kafka, encoded by hand, unchecked": (_encoded, wired),
        "confluent-kafka, bytes that are ready (limit)": (_bytes, ready),
    }
    found: dict[str, list[Sent]] = {name: [] for name in contestants}
    with stand(kafka=options.kafka) as place:
        for number in range(options.runs):
            for name, (send, events) in contestants.items():
                print(f"{NAME}: round {number + 1}, {name}", file=sys.stderr, flush=True)
                found[name].append(_measured(place, send, events))
    limit = [sent.rate for sent in found["confluent-kafka, bytes that are ready (limit)"]]
    rows = []
    for name, made in found.items():
        ratios = [sent.rate / best for sent, best in zip(made, limit, strict=True)]
        rows.append((name, *map(figure, zip(*made, strict=True)), figure(ratios)))
    report.table(
        f"{len(drafts):,} events of {len(ready[0][2])} bytes, acks=all, idempotent, lz4",
        ("", "events/s", "CPU s/100k", "broker CPU s/100k", "MiB", "ratio"),
        rows,
    )


def _measured(place: Stand, send: Send, events: Sequence[Any]) -> Sent:
    meter = Meter({"broker": place.pids()["broker"]}).start()
    cpu, begun = time.process_time(), time.perf_counter()
    confirmed = send(place, events)
    seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    usage: Usage = meter.stop()
    if confirmed != len(events):
        raise RuntimeError(f"the log has {confirmed} of {len(events)} events")
    share = 1e5 / len(events)
    return Sent(
        len(events) / seconds, used * share, usage.cpu_seconds["broker"] * share, _own_mib()
    )


def _own_mib() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


def _drafts(count: int) -> list[Draft]:
    """Postings with typed data, of many people."""
    chance, users, time_ = random.Random(3), past.people(PEOPLE), now()
    made = []
    for number in range(count):
        draft = past.posting(f"p-{number}", chance.choice(users), time_, chance)
        typed = TransactionPosted.model_validate(draft.data)
        made.append(msgspec.structs.replace(draft, data=typed))
    return made


def _as_on_the_wire(draft: Draft) -> Draft:
    return msgspec.structs.replace(draft, data=document_of(draft)["data"])


# Contestants -------------------------------------------------------------------------------


def _sdk(place: Stand, drafts: Sequence[Draft]) -> int:
    with SyncProducer(ProducerSettings(place.stack.kafka)) as producer:
        for start in range(0, len(drafts), SENT_AT_ONCE):
            producer.post(drafts[start : start + SENT_AT_ONCE])
        return producer.flush()


def _sdk_one_call(place: Stand, drafts: Sequence[Draft]) -> int:
    """Each call waits until the log has its events."""
    with SyncProducer(ProducerSettings(place.stack.kafka)) as producer:
        return sum(
            len(producer.send_many(drafts[start : start + SENT_AT_ONCE]))
            for start in range(0, len(drafts), SENT_AT_ONCE)
        )


def _encoded(place: Stand, drafts: Sequence[Draft]) -> int:
    encode = msgspec.json.encode
    return _bytes(place, ((topic_of(d).name, key_of(d), encode(document_of(d))) for d in drafts))


def _bytes(place: Stand, records: Iterable[tuple[str, bytes, bytes]]) -> int:
    """As a careful person would write it by hand: every delivery is looked at, and counted."""
    client = Client(ProducerSettings(place.stack.kafka).librdkafka())
    confirmed = 0

    def delivered(error: Any, message: Any) -> None:
        nonlocal confirmed
        confirmed += error is None

    produce, poll = client.produce, client.poll
    for number, (topic, key, value) in enumerate(records):
        while True:
            try:
                produce(topic, value, key, headers=HEADERS, on_delivery=delivered)
                break
            except BufferError:
                poll(0.1)
        if number % POLLED_EACH == 0:
            poll(0)
    client.flush()
    return confirmed

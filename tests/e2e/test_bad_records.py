"""The corpus of bad records through the real system, between good events of the same people."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import clickhouse_connect
import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from compose.local.errors import NotInstalled
from projections import dead_letters
from projections.batch import Batch
from projections.catalog import row_projections
from projections.memory import MemoryStore
from projections.projection import Projection
from projections.projector import Projector
from schemas.codec import RawRecord
from schemas.envelope import Event
from schemas.limits import dead_letter_record_bytes_max, partitions_embedded
from schemas.position import Position
from schemas.topics import partition_of
from tests import recomputed
from tests.builders import posted, record_of
from tests.corpus.kind import Kind, Refusal
from tests.corpus.kinds import KINDS
from tests.corpus.refused import database_refusals, refusals
from tests.e2e.system import System, event_of, whole_system

pytestmark = pytest.mark.timeout(600)

SEND_SECONDS_MAX = 60.0


@dataclass
class Sent:
    """Where everything stands in the log."""

    system: System
    kafka: bool
    kinds: dict[Position, Kind] = field(default_factory=dict)
    refusals: dict[Position, Refusal] = field(default_factory=dict)
    good: dict[Position, RawRecord] = field(default_factory=dict)

    def bad(self) -> set[tuple[str, Position]]:
        """Who refuses what."""
        unread = {(dead_letters.NOBODY, place) for place in self.kinds}
        return unread | {(by, place) for place, one in self.refusals.items() for by in one.by}


class Sender:
    """Sends records as they are, to the partition that they name, and notes where they stand."""

    def __init__(self, system: System) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": system.stack.kafka,
                "enable.idempotence": True,
                "message.max.bytes": 2 * dead_letter_record_bytes_max,
                "log_level": 2,
            }
        )
        self._lost: list[KafkaError] = []

    def send(self, record: RawRecord, thing: Any, places: dict[Position, Any]) -> None:
        def delivered(error: KafkaError | None, message: Any) -> None:
            if error is not None:
                self._lost.append(error)
            else:
                place = Position(message.topic(), message.partition(), message.offset())
                places[place] = thing

        self._producer.produce(
            record.topic,
            record.value,
            record.key,
            record.partition,
            headers=list(record.headers),
            on_delivery=delivered,
        )
        self._producer.poll(0)

    def finish(self) -> list[KafkaError]:
        """Wait for the reports; returns what the broker refused."""
        assert self._producer.flush(SEND_SECONDS_MAX) == 0
        return self._lost


@pytest.fixture(scope="module", params=["tansu", pytest.param("kafka", marks=pytest.mark.kafka)])
def sent(request: pytest.FixtureRequest) -> Iterator[Sent]:
    """The corpus in the log of a running system that has come to rest."""
    folder = Path(tempfile.mkdtemp(prefix="streams-bad-"))
    try:
        with whole_system(folder, kafka=request.param == "kafka") as system:
            everything = Sent(system, request.param == "kafka")
            sender = Sender(system)
            number = 0
            for kind in KINDS:
                if kind.withheld is None:
                    _good(sender, everything, "usr_17", number)
                    sender.send(kind.record, kind, everything.kinds)
                    number += 1
            for one in (*refusals(), *database_refusals()):
                for made in one.before:
                    sender.send(record_of(made), record_of(made), everything.good)
                user = one.bad.user_id or ""
                _good(sender, everything, user, number)
                sender.send(record_of(one.bad), one, everything.refusals)
                _good(sender, everything, user, number + 1)
                number += 2
            assert sender.finish() == []
            system.rest()
            yield everything
    except NotInstalled as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _good(sender: Sender, sent: Sent, user: str, number: int) -> None:
    made = posted(f"{number + 1}.01", account="acc_good", user=user, id=f"good-{user}-{number}")
    record = record_of(made)
    sender.send(record, record, sent.good)


def ask(sent: Sent, sql: str) -> list[Any]:
    async def main() -> list[Any]:
        connection = await asyncpg.connect(sent.system.stack.postgres)
        try:
            return list(await connection.fetch(sql))
        finally:
            await connection.close()

    return asyncio.run(main())


def test_each_bad_one_is_in_the_table_with_reason_projection_and_position(sent: Sent) -> None:
    found = {}
    for row in ask(sent, "select * from dead_letters"):
        place = Position(row["topic"], row["partition"], row["offset"])
        found[row["projection"], place] = row
        assert row["state"] == "open"
        if kind := sent.kinds.get(place):
            assert f"{kind.path}: " in row["reason"], (kind.name, row["reason"][:300])
            record = kind.record
        else:
            refusal = sent.refusals[place]
            assert row["reason"].startswith(refusal.path), refusal.name
            assert (row["event_id"], row["user_id"]) == (refusal.bad.id, refusal.bad.user_id)
            record = record_of(refusal.bad)
        assert (row["key"], row["value"]) == (record.key, record.value)
        headers = list(zip(row["header_names"], row["header_values"], strict=True))
        assert headers == list(record.headers)
    assert set(found) == sent.bad()


def test_each_bad_one_is_in_the_topic_once_and_untouched(sent: Sent) -> None:
    letters = [r for r in sent.system.log() if r.topic == dead_letters.TOPIC]
    places: Counter[tuple[str, Position]] = Counter()
    for letter in letters:
        headers = list(letter.headers)
        identity = dead_letters.place_of(dead_letters.identity_of(headers))
        assert identity is not None
        places[identity] += 1
        kind = sent.kinds.get(identity[1])
        record = kind.record if kind else record_of(sent.refusals[identity[1]].bad)
        assert (letter.key, letter.value) == (record.key, record.value)
        assert headers[: len(record.headers)] == list(record.headers)
        told = dict(headers[len(record.headers) :])
        assert list(told) == [
            "dl-projection",
            "dl-reason",
            "dl-topic",
            "dl-partition",
            "dl-offset",
        ]
        assert told["dl-reason"]
    assert set(places) == sent.bad()
    assert set(places.values()) == {1}


def test_everything_else_is_applied_as_if_nothing_had_stood_between(sent: Sent) -> None:
    """Each table is that of a plain fold of the log without what a database refused."""
    database = [refusal.name for refusal in database_refusals()]
    refused = {
        (by, place) for place, one in sent.refusals.items() for by in one.by if one.name in database
    }
    log = [record for record in sent.system.log() if record.topic != dead_letters.TOPIC]
    events = [event for event in recomputed.decoded(log) if isinstance(event, Event)]

    async def compare() -> None:
        connection = await asyncpg.connect(sent.system.stack.postgres)
        try:
            for projection in row_projections():
                name = projection.name
                mine = [event for event in events if (name, event.position) not in refused]
                expected = await folded(projection, mine)
                for table in projection.tables:
                    wanted = {table.key_of(row): row for row in expected.table(table)}
                    found = await recomputed.rows_of(connection, table)
                    assert found == wanted, (projection.name, table.name)
        finally:
            await connection.close()

    asyncio.run(compare())


async def folded(projection: Projection, events: list[Event]) -> MemoryStore:
    """Commands first, one event after the other."""
    store = MemoryStore()
    projector = Projector(projection, store)
    places = recomputed.by_place(events)
    for place in sorted(places, key=lambda place: (place.topic != "app.commands", place)):
        if place.topic in projection.topics:
            await projector.take([place])
            reached = 0
            for event in places[place]:
                end = event.position.offset + 1
                await projector.apply([Batch(*place, reached, end, [event])])
                reached = end
    return store


def test_good_ones_are_in_clickhouse_in_the_order_of_the_log(sent: Sent) -> None:
    valid = {place for place in {*sent.good, *sent.refusals} if place.topic not in _DERIVED}
    with clickhouse_connect.get_client(dsn=sent.system.stack.clickhouse) as client:
        rows = client.query("select topic, partition, offset from events").result_rows
        mine = {Position(*row) for row in rows if row[0] not in _DERIVED}
        assert Counter(map(tuple, rows)).most_common(1)[0][1] == 1
        assert mine == valid
        sums = client.query(
            "select user_id, sum(amount), count() from transactions"
            " where account = 'acc_good' group by 1"
        ).result_rows
    wanted: Counter[str] = Counter()
    for record in sent.good.values():
        event = event_of(record)
        if event["data"].get("account") == "acc_good":
            wanted[event["userid"]] += 1
    assert {user: count for user, _, count in sums} == dict(wanted)


_DERIVED = ("notifications", "rules.triggered", "actions", "wealth", "sync.conflicts")


def test_the_person_sees_the_money_of_all_good_events(sent: Sent) -> None:
    total = sum(
        float(event_of(record)["data"]["amount"])
        for record in sent.good.values()
        if event_of(record)["userid"] == "usr_17"
    )
    told = sent.system.get("/api/wealth/net-worth", "usr_17")
    (account,) = [one for one in told["accounts"] if one["account"] == "acc_good"]
    assert float(account["balance"]["amount"]) == pytest.approx(total)


def test_the_tail_shows_what_is_valid_in_the_order_of_the_log(sent: Sent) -> None:
    """A reader from the beginning meets every kind of bad record on its way."""
    wanted = {*sent.good, *sent.refusals}
    headers = {"Authorization": f"Bearer {sent.system.token('usr_ops', 'operator')}"}
    url = f"{sent.system.url}/api/sync/stream?from=earliest"
    seen: list[str] = []
    with httpx.stream("GET", url, headers=headers, timeout=60) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith("data:"):
                message = json.loads(line.removeprefix("data:"))
                if message["kind"] == "live":
                    break
                if message["kind"] == "event":
                    seen.append(message["event"]["id"])
    ids = {place: event_of(record)["id"] for place, record in sent.good.items()}
    ids |= {place: one.bad.id for place, one in sent.refusals.items()}
    assert set(ids.values()) <= set(seen)
    order = {name: number for number, name in enumerate(seen)}
    for one, next_one in pairwise(sorted(wanted)):
        if one[:2] == next_one[:2]:
            assert order[ids[one]] < order[ids[next_one]]
    derived = [
        event_of(record)["id"]
        for record in sent.system.log()
        if record.topic in _DERIVED
        and Position(*record[:3]) not in wanted
        and Position(*record[:3]) not in sent.kinds
    ]
    assert Counter(seen) == Counter([*ids.values(), *derived])


def test_what_the_broker_does_not_take_is_refused_to_the_producer(sent: Sent) -> None:
    """Only Apache Kafka knows `max.message.bytes`; the broker in memory takes such a record, and
    it becomes a dead letter like every event that is too large."""
    (kind,) = [kind for kind in KINDS if kind.withheld and "max.message.bytes" in kind.withheld]
    sender = Sender(sent.system)
    places: dict[Position, Kind] = {}
    try:
        sender.send(kind.record, kind, places)
        lost = sender.finish()
    except KafkaException as error:
        lost = [error.args[0]]
    if sent.kafka:
        assert [error.code() for error in lost] == [KafkaError.MSG_SIZE_TOO_LARGE]
        return
    sent.kinds.update(places)
    sent.system.rest()
    found = ask(
        sent, "select topic, partition, \"offset\" from dead_letters where projection = '*'"
    )
    assert {Position(*row) for row in found} == set(sent.kinds)


def test_partitions_of_the_corpus_are_those_of_the_stack() -> None:
    (right,) = {
        kind.record.partition
        for kind in KINDS
        if kind.record.topic == "bfc.ledger" and kind.record.key == b"usr_17" and kind.path == "id"
    }
    assert right == partition_of(b"usr_17", partitions_embedded)

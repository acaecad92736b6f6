"""The producers on a real broker, read back by a foreign Kafka client (aiokafka)."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as Flag
from uuid import uuid4

import aiokafka
import pytest
from typer.testing import CliRunner

from compose.cli import app
from compose.errors import CommandError
from compose.exit_codes import ExitCode
from compose.local import Stack, local_stack
from schemas import limits
from schemas.codec import decode_record
from schemas.envelope import Draft, Event, key_of
from schemas.position import Position
from schemas.topics import TOPICS, partition_of
from streams import topics
from streams.producer import (
    BrokerAway,
    DeliveryUnknown,
    EventTooLarge,
    InvalidDraft,
    Producer,
    ProducerSettings,
    SyncProducer,
    TopicMissing,
)
from streams.simulate.config import Config
from streams.simulate.run import send_history, send_live
from streams.simulate.world import World
from tests.builders import at, posted, step, tick

PARTITIONS = limits.partitions_embedded
STATEMENT = Path(__file__).parents[1] / "data" / "statement.mt940"

# The hashes that Apache Kafka's own tests expect of its Java partitioner (as signed numbers).
JAVA_HASHES = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.fixture(scope="module")
def kafka(stack: Stack) -> str:
    topics.ensure(stack.kafka, PARTITIONS)
    return stack.kafka


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    """A stack that a test may break."""
    folder = Path(tempfile.mkdtemp(prefix="streams-"))
    try:
        with local_stack(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def settings(kafka: str, seconds: float = 30.0) -> ProducerSettings:
    return ProducerSettings(kafka, client_id="test", delivery_seconds_max=seconds)


def someone() -> str:
    return f"usr_{uuid4().hex}"


async def read(kafka: str, positions: list[Position]) -> list[Event]:
    """The events at these positions, in the same order, by a client that is not ours."""
    events = []
    async with aiokafka.AIOKafkaConsumer(bootstrap_servers=kafka) as consumer:
        for position in positions:
            place = aiokafka.TopicPartition(position.topic, position.partition)
            consumer.assign([place])
            consumer.seek(place, position.offset)
            record = await asyncio.wait_for(consumer.getone(), 10)
            assert record.offset == position.offset
            assert dict(record.headers)["content-type"] == (
                b"application/cloudevents+json; charset=UTF-8"
            )
            event = decode_record(record, partitions=dict.fromkeys(TOPICS, PARTITIONS))
            assert isinstance(event, Event), event
            events.append(event)
    return events


async def test_what_is_sent_stands_where_the_position_says(kafka: str) -> None:
    user = someone()
    drafts = [
        posted("10.00", user=user),
        tick("AAPL", "187.2"),
        step("signup", user=None),
        posted("20.00", user=user),
    ]
    async with Producer(settings(kafka)) as producer:
        positions = await producer.send_many(drafts)
    assert [position.topic for position in positions] == [
        "bfc.ledger",
        "market.prices",
        "journeys",
        "bfc.ledger",
    ]
    assert positions[3].offset > positions[0].offset
    events = await read(kafka, positions)
    assert [event.id for event in events] == [draft.id for draft in drafts]
    assert [event.tenant_id for event in events] == ["bfc"] * 4
    assert str(events[0].data.amount) == "10.00"


async def test_sync_and_async_agree(kafka: str) -> None:
    user = someone()
    with SyncProducer(settings(kafka)) as producer:
        first = producer.send(posted(user=user))
        producer.post([posted(user=user), posted(user=user)])
        assert producer.flush() == 2
    async with Producer(settings(kafka)) as other:
        last = await other.send(posted(user=user))
    assert (first.topic, first.partition) == (last.topic, last.partition)
    assert last.offset >= first.offset + 3


@pytest.mark.parametrize(("key", "java"), JAVA_HASHES.items())
def test_partitions_are_those_of_the_java_clients(kafka: str, key: str, java: int) -> None:
    with SyncProducer(settings(kafka)) as producer:
        position = producer.send(posted(user=key))
    assert position.partition == (java & 0x7FFFFFFF) % PARTITIONS
    assert position.partition == partition_of(key.encode(), PARTITIONS)


async def test_many_at_once_keep_their_order(kafka: str) -> None:
    people = [someone() for _ in range(10)]
    drafts = [posted(user=people[number % 10]) for number in range(5_000)]
    async with Producer(settings(kafka)) as producer:
        batches = await asyncio.gather(*(producer.send_many(drafts[i::4]) for i in range(4)))
    seen: set[Position] = set()
    for part, positions in zip((drafts[i::4] for i in range(4)), batches, strict=True):
        last: dict[bytes, int] = {}
        for draft, position in zip(part, positions, strict=True):
            key = key_of(draft)
            assert position.partition == partition_of(key, PARTITIONS)
            assert position.offset > last.get(key, -1)
            last[key] = position.offset
        seen.update(positions)
    assert len(seen) == len(drafts)


def test_an_invalid_event_stops_the_call_and_names_the_fields(kafka: str) -> None:
    good, bad = posted(user="usr_1"), posted("-5", user="usr_1", currency="RUPEES")
    with SyncProducer(settings(kafka)) as producer:
        with pytest.raises(InvalidDraft) as caught:
            producer.send_many([good, bad])
        assert caught.value.index == 1
        assert {error.path for error in caught.value.errors} == {"data.amount", "data.currency"}
        with pytest.raises(InvalidDraft) as caught:
            producer.send(posted(user=None))
        assert {error.path for error in caught.value.errors} == {"userid"}
        with pytest.raises(InvalidDraft, match="not a known type"):
            producer.send(Draft(type="bfc.no.such.v1", source="/t", data={}, time=at()))
        large = posted(user="usr_1", memo=["x" * 1_000] * 300)
        with pytest.raises(InvalidDraft, match="are allowed"):
            producer.send(large)
        with pytest.raises(InvalidDraft, match="ahead"):
            producer.send(posted(user="usr_1", time=datetime(2190, 1, 1, tzinfo=UTC)))


async def test_no_broker_is_said_with_its_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BrokerAway, match=f"{address}.*streams local up"):
            async with Producer(settings(address)):
                pass


def test_missing_topics_are_named(own_stack: Stack) -> None:
    kafka = own_stack.kafka
    assert topics.missing_topics(kafka) == list(TOPICS)
    with (
        pytest.raises(TopicMissing, match="streams topics create"),
        SyncProducer(settings(kafka)) as producer,
    ):
        producer.send(posted())
    with pytest.raises(topics.TopicsMissing, match=r"bfc\.ledger"):
        asyncio.run(topics.partition_counts(kafka))
    assert topics.ensure(kafka, 3).created == tuple(TOPICS)
    again = topics.ensure(kafka, 3)
    assert (again.created, again.good) == ((), True)
    other = topics.ensure(kafka, 4)
    assert not other.good
    assert {one.setting for one in other.differences} == {"partitions"}
    assert topics.check(kafka, None).good
    assert set(asyncio.run(topics.partition_counts(kafka)).values()) == {3}


async def test_a_broker_that_goes_away_leaves_the_outcome_open(own_stack: Stack) -> None:
    kafka = own_stack.kafka
    topics.ensure(kafka, PARTITIONS)
    draft = posted()
    async with Producer(settings(kafka, seconds=3)) as producer:
        await producer.send(draft)
        own_stack.stop("kafka")
        with pytest.raises(DeliveryUnknown, match="same ids") as caught:
            await producer.send(draft)
        assert caught.value.positions == (None,)
    own_stack.start("kafka")
    topics.ensure(kafka, PARTITIONS)
    async with Producer(settings(kafka)) as producer:
        (event,) = await read(kafka, [await producer.send(draft)])
    assert event.id == draft.id


def test_sent_again_is_a_second_record_of_the_same_event(kafka: str) -> None:
    draft = posted(user=someone())
    with SyncProducer(settings(kafka)) as producer:
        first, again = producer.send_many([draft, draft])
    assert again.offset > first.offset
    one, other = asyncio.run(read(kafka, [first, again]))
    assert one.key == other.key


def test_a_simulated_history_and_what_follows_arrive(kafka: str) -> None:
    world = World(Config(people=10, months=1, until=datetime.now(UTC)))
    reached: list[datetime] = []
    with SyncProducer(settings(kafka)) as producer:
        sent = send_history(producer, world, lambda _, time: reached.append(time), Flag())
        assert sent > 500
        assert reached == sorted(reached)
        live = send_live(producer, world, 2_000, Flag(), progress=lambda *_: None, events_max=300)
        assert live == 300
        assert producer.flush() == sent + live


def test_a_stopped_history_ends(kafka: str) -> None:
    world = World(Config(people=5, months=1, until=datetime.now(UTC)))
    stop = Flag()
    stop.set()
    with SyncProducer(settings(kafka)) as producer:
        assert send_history(producer, world, lambda *_: None, stop) == 0
        assert send_live(producer, world, 10, stop, progress=lambda *_: None) == 0


def test_commands(kafka: str) -> None:
    run = CliRunner().invoke
    simulated = run(app, ["simulate", "--people", "3", "--months", "1", "--kafka", kafka])
    assert simulated.exit_code == 0, simulated.output
    assert "of 3 people in the log" in simulated.output
    user = someone()
    order = ["import", str(STATEMENT), "--account", "acc_1", "--user", user, "--kafka", kafka]
    for _ in range(2):
        imported = run(app, order)
        assert imported.exit_code == 0, imported.output
        assert "5 entries for acc_1" in imported.output
    assert run(app, ["topics", "check", "--partitions", "6", "--kafka", kafka]).exit_code == 0
    differs = run(app, ["topics", "create", "--partitions", "9", "--kafka", kafka])
    assert differs.exit_code == 1
    assert "partitions is 6, should be 9" in differs.output
    both = run(app, ["simulate", "--fast", "--rate", "5", "--kafka", kafka])
    assert isinstance(both.exception, CommandError)
    assert both.exception.code is ExitCode.SETTINGS


def test_errors_keep_what_is_certain() -> None:
    known = Position("bfc.ledger", 1, 5)
    assert EventTooLarge("too large", [known, None]).positions == (known, None)

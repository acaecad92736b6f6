"""A log that is another one, or was cut: the worker process stops with the facts, nothing skipped.

Real processes and their exit codes, on both kinds of broker.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from compose.exit_codes import ExitCode
from schemas.envelope import Draft
from schemas.limits import partitions_embedded
from streams.identity import identities_of
from streams.topics import ensure
from tests.builders import draft
from tests.worker_world import LEDGER, USER, World, await_true, paid, worker_world

#: Workers start several times, each with waits of the group's session.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(params=["tansu", pytest.param("kafka", marks=pytest.mark.kafka)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with worker_world(kafka=request.param == "kafka") as made:
        yield made


@pytest.fixture
def kafka_world() -> Iterator[World]:
    with worker_world(kafka=True) as made:
        yield made


def empty_broker(world: World) -> None:
    """Under the same address comes a broker that knows nothing of what was."""
    world.stack.stop("kafka", signal.SIGKILL)
    shutil.rmtree(world.folder / "kafka" / "data", ignore_errors=True)
    world.stack.start("kafka")


def always(effective: dict[str, int]) -> Draft:
    """A rule for every posting, effective from offsets of the log that it was made in."""
    definition = {
        "name": "Every posting",
        "status": "active",
        "trigger": {"type": "transaction"},
        "conditions": [],
        "actions": [{"type": "notify", "message": "paid"}],
    }
    data = {"rule": "r1", "version": 1, "definition": definition, "effective": effective}
    return draft("app.rule.created", data, user=USER)


def test_an_empty_broker_in_place_of_the_old_one(world: World) -> None:
    world.start()
    world.send([paid(n) for n in range(5)])
    world.send([always(dict.fromkeys((f"{LEDGER}:{n}" for n in range(6)), 5))])
    world.send([paid(5)])
    world.caught_up()
    assert (world.balance(), world.executions()) == ("60.00", 1)
    before = identities_of(world.stack.kafka)

    empty_broker(world)
    gone = world.ended()
    assert f"{LEDGER} was {before[LEDGER]}, is " in gone
    assert "--accept-new-log" in gone
    stood = world.checkpoints()
    ensure(world.stack.kafka, partitions_embedded)
    # More than the old log had: offsets alone would not tell.
    world.send([paid(5), *(paid(n) for n in range(100, 110))])
    after = identities_of(world.stack.kafka)
    assert after.keys() == before.keys() and not {*after.values()} & {*before.values()}
    for command in (["worker"], ["rebuild", "net_worth"]):
        done = world.command(*command)
        assert done.returncode == ExitCode.OTHER_LOG, done.stderr
        assert f"{LEDGER} was {before[LEDGER]}, is {after[LEDGER]}" in done.stderr
    assert world.checkpoints() == stood
    assert world.balance() == "60.00"

    world.start("--accept-new-log")
    world.caught_up()
    # paid-5 was known; the ten others are new, and the rule of the old log met all of them.
    assert (world.balance(), world.executions()) == ("160.00", 11)
    assert world.clickhouse("select count() from transactions") == [(16,)]
    assert world.clickhouse("select log, count() from transactions group by log order by log") == [
        (0, 10),
        (world.number_of(LEDGER), 6),
    ]
    assert not world.fetch("select * from dead_letters where state = 'open'")
    world.stop()
    # An accepted log is like any other: nothing to accept, nothing read again.
    world.start("--accept-new-log")
    world.caught_up()
    assert world.balance() == "160.00"
    done = world.command("rebuild", "net_worth")
    assert done.returncode == ExitCode.OK, done.stderr
    # Made from the present log alone.
    assert world.balance() == "110.00"


def test_a_checkpoint_beyond_the_log(world: World) -> None:
    world.start()
    world.send([paid(n) for n in range(5)])
    world.caught_up()
    world.stop()
    place = world.place()
    world.fetch(
        "update checkpoints set next_offset = 1000 where (topic, partition) = ($1, $2)"
        " and projection = 'net_worth'",
        *place,
    )
    stood = world.checkpoints()
    done = world.command("worker")
    assert done.returncode == ExitCode.OTHER_LOG, done.stderr
    assert f"{LEDGER}:{place[1]} has the offsets 0 to 5, but the read models stand at 1000" in (
        done.stderr
    )
    assert world.checkpoints() == stood

    accepted = world.command("log", "accept")
    assert accepted.returncode == ExitCode.OK, accepted.stderr
    assert f"{LEDGER} ends at 5, was read up to 1000: read from its beginning" in accepted.stdout
    world.start()
    world.send([paid(5)])
    world.caught_up()
    # What is read again is known; what is new is not.
    assert world.balance() == "60.00"
    assert world.clickhouse("select count() from transactions") == [(6,)]


@pytest.mark.kafka
def test_a_topic_made_anew_while_the_worker_runs(kafka_world: World) -> None:
    world = kafka_world
    worker = world.start()
    world.send([paid(n) for n in range(5)])
    world.caught_up()
    before = identities_of(world.stack.kafka)[LEDGER]
    # Stopped, so that it does not see the topic while there is none.
    os.kill(worker.pid, signal.SIGSTOP)
    remade(world, LEDGER)
    world.send([paid(n) for n in range(100, 110)])
    after = identities_of(world.stack.kafka)[LEDGER]
    os.kill(worker.pid, signal.SIGCONT)
    assert f"{LEDGER} was {before}, is {after}" in world.ended()

    accepted = world.command("log", "accept")
    assert accepted.returncode == ExitCode.OK, accepted.stderr
    world.start()
    world.caught_up()
    # Also what was read before the worker noticed has counted once.
    assert world.balance() == "150.00"
    assert world.clickhouse("select count() from transactions") == [(15,)]


@pytest.mark.kafka
def test_a_log_cut_at_its_beginning_while_the_worker_runs(kafka_world: World) -> None:
    world = kafka_world
    worker = world.start()
    world.send([paid(n) for n in range(5)])
    world.caught_up()
    number = world.place()[1]
    os.kill(worker.pid, signal.SIGSTOP)
    # The fetch that is under way may be answered with the first of these, but not with the others.
    world.send([paid(n) for n in range(5, 10)])
    world.send([paid(n) for n in range(10, 15)])
    cut(world, number, 13)
    os.kill(worker.pid, signal.SIGCONT)
    assert f"{LEDGER}:{number} begins at 13, but the read models stand at" in world.ended()
    # A start finds the same.
    at = world.checkpoints()["net_worth", LEDGER, number]
    assert at in (5, 10)
    done = world.command("worker")
    assert done.returncode == ExitCode.OTHER_LOG
    assert f"stand at {at}: offsets {at} to 12 were" in done.stderr
    assert world.balance() == f"{at * 10}.00"

    accepted = world.command("log", "accept")
    assert accepted.returncode == ExitCode.OK, accepted.stderr
    lost = f"{LEDGER}:{number}: offsets {at} to 12 are lost to net_worth"
    assert lost in accepted.stdout.splitlines()
    world.start()
    world.caught_up()
    assert world.balance() == f"{(at + 2) * 10}.00"
    world.stop()
    assert "nothing to accept" in world.command("log", "accept").stdout


def remade(world: World, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": world.stack.kafka})
    admin.delete_topics([topic])[topic].result(30)
    await_true(lambda: topic not in identities_of(world.stack.kafka), "the topic stays")
    ensure(world.stack.kafka, partitions_embedded)
    await_true(lambda: topic in identities_of(world.stack.kafka), "the topic does not come")


def cut(world: World, number: int, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": world.stack.kafka})
    (future,) = admin.delete_records([TopicPartition(LEDGER, number, offset)]).values()
    assert future.result(30).low_watermark == offset

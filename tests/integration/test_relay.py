"""The relay on a real broker and a real database: each record that is owed is published once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from compose.local import Stack
from compose.local.service import Child
from compose.processes import Relay
from projections.batch import Move, Partition
from projections.postgres.migrate import migrate
from projections.postgres.outbox import leading
from projections.postgres.pool import Pool, acquire, open_pool
from projections.postgres.store import PostgresStore
from projections.rows import Changes, Timer
from projections.store import Commit
from schemas.codec import RawRecord
from schemas.envelope import Draft
from streams.relay import relay
from streams.relay_log import KafkaDerivedLog, kafka_log
from streams.topics import ensure
from tests.builders import at, draft
from tests.e2e.system import event_of, read_log

SECONDS_MAX = 60.0
PLACE = Partition("bfc.ledger", 0)


class Owing:
    """A database with an outbox, and commits that fill it."""

    def __init__(self, stack: Stack, url: str, pool: Any) -> None:
        self.kafka = stack.kafka
        self.url = url
        self.pool = pool
        self._store = PostgresStore(pool)
        self._offset = 0
        self._epoch = 0

    async def commit(self, drafts: Sequence[Draft] = (), timer: Timer | None = None) -> None:
        if not self._epoch:
            self._epoch = (await self._store.take("totals", [PLACE]))[PLACE].epoch
        move = Move(*PLACE, self._offset, self._offset + 1, self._epoch)
        timers = {(timer.user_id, timer.timer): timer} if timer else {}
        await self._store.commit(Commit("totals", 1, [move], Changes({}, list(drafts), timers)))
        self._offset += 1

    async def settled(self) -> None:
        """Wait until nothing is owed and no timer is due."""
        await self.owed_below(1)

    async def owed_below(self, count: int) -> None:
        deadline = asyncio.get_running_loop().time() + SECONDS_MAX
        while await self._owed() >= count:
            assert asyncio.get_running_loop().time() < deadline, "something is still owed"
            await asyncio.sleep(0.02)

    async def _owed(self) -> int:
        async with acquire(self.pool) as connection:
            count: int = await connection.fetchval(
                "select (select count(*) from outbox)"
                " + (select count(*) from timers where due <= now())"
            )
        return count

    async def published(self, ids: set[str]) -> list[RawRecord]:
        records = await asyncio.to_thread(read_log, self.kafka)
        values = [record for record in records if record.topic != "dead-letters" and record.value]
        return [record for record in values if event_of(record)["id"] in ids]


@asynccontextmanager
async def relaying(owing: Owing) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(relay(lambda: leading(owing.url), lambda: kafka_log(owing.kafka)))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(params=["tansu", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Stack:
    """The stack whose broker is used; only Apache Kafka proves anything about transactions."""
    found: Stack = request.getfixturevalue("kafka_stack" if request.param == "kafka" else "stack")
    return found


@pytest.fixture
async def owing(broker: Stack, database: str, pool: Pool) -> Owing:
    await asyncio.to_thread(ensure, broker.kafka, 6)
    return Owing(broker, database, pool)


def ids_of(drafts: Sequence[Draft]) -> set[str]:
    return {made.id for made in drafts}


def skipped(count: int, user: str = "usr_1") -> list[Draft]:
    """Derived events of one person."""
    facts = {"execution": "exe_1", "rule": "rul_1", "ruleVersion": 1, "reason": "paused"}
    return [
        draft("rule.skipped", {**facts, "event": f"evt-{number}"}, user=user)
        for number in range(count)
    ]


async def test_what_is_owed_is_published_in_order_and_once(owing: Owing) -> None:
    drafts = skipped(50)
    await owing.commit(drafts[:20])
    async with relaying(owing):
        await owing.commit(drafts[20:])
        await owing.settled()
    found = await owing.published(ids_of(drafts))
    assert [event_of(record)["id"] for record in found] == [made.id for made in drafts]
    assert {record.key for record in found} == {b"usr_1"}


async def test_what_a_killed_relay_had_published_is_not_repeated(owing: Owing) -> None:
    """Killed between the Kafka transaction and the delete: the next leader looks at the log."""
    drafts = skipped(30)
    await owing.commit(drafts)
    async with leading(owing.url) as outbox, kafka_log(owing.kafka) as log:
        await log.publish(await outbox.pending(20))
    async with relaying(owing):
        await owing.settled()
    found = await owing.published(ids_of(drafts))
    assert [event_of(record)["id"] for record in found] == [made.id for made in drafts]


async def test_what_a_relay_left_open_is_published_once(owing: Owing) -> None:
    """Killed in the middle of a transaction: its records are aborted and sent again.

    The broker in memory shows aborted records; there they count as published.
    """
    drafts = skipped(30)
    await owing.commit(drafts)
    async with leading(owing.url) as outbox, kafka_log(owing.kafka) as log:
        owed = await outbox.pending(20)
        await asyncio.to_thread(_send_and_leave_open, log, owed)
    async with relaying(owing):
        await owing.settled()
    found = await owing.published(ids_of(drafts))
    assert [event_of(record)["id"] for record in found] == [made.id for made in drafts]


def _send_and_leave_open(log: KafkaDerivedLog, owed: Sequence[Any]) -> None:
    producer = log._producer
    producer.begin_transaction()
    for record in owed:
        producer.produce(record.topic, record.value, record.key, headers=record.headers)
    producer.flush(30)


async def test_a_timer_that_is_due_becomes_one_event(owing: Owing) -> None:
    past = Timer("digest", "usr_timed", at(0), {"why": "test"})
    future = Timer("later", "usr_1", datetime.now(UTC) + timedelta(days=1), {})
    await owing.commit(timer=past)
    await owing.commit(timer=future)
    async with relaying(owing):
        await owing.settled()
    records = await asyncio.to_thread(read_log, owing.kafka)
    commands = [event_of(r) for r in records if r.topic == "app.commands" and r.value]
    fired = [event for event in commands if event["userid"] == "usr_timed"]
    assert [event["data"] for event in fired] == [
        {"timer": "digest", "projection": "totals", "payload": {"why": "test"}}
    ]
    async with acquire(owing.pool) as connection:
        assert [row[0] for row in await connection.fetch("select timer from timers")] == ["later"]


async def test_a_relay_stands_by_until_the_leader_is_gone(owing: Owing) -> None:
    first, second = skipped(5, "usr_a"), skipped(5, "usr_b")
    async with relaying(owing) as leader:
        await owing.commit(first)
        await owing.settled()
        async with relaying(owing) as standby:
            leader.cancel()
            await asyncio.gather(leader, return_exceptions=True)
            await owing.commit(second)
            await owing.settled()
            assert not standby.done()
    found = await owing.published(ids_of([*first, *second]))
    assert len(found) == 10


async def test_two_who_migrate_at_once_do_not_disturb_each_other(database: str) -> None:
    async with open_pool(database) as one, open_pool(database) as two:
        applied = await asyncio.gather(migrate(one), migrate(two))
    assert sorted(map(bool, applied)) == [False, True]


@contextmanager
def relay_process(owing: Owing, folder: Path, name: str) -> Iterator[Child]:
    """`streams relay` as a process of its own, killed at the end if it still runs."""
    env = {"STREAMS_KAFKA": owing.kafka, "STREAMS_POSTGRES": owing.url}
    env |= {"STREAMS_CLICKHOUSE": "http://127.0.0.1:9", "STREAMS_LOCAL_FOLDER": str(folder)}
    child = Child(Relay(folder, env, name=name), folder)
    try:
        yield child
    finally:
        if not child.has_ended():
            os.kill(child.pid, signal.SIGCONT)
            child.stop(signal.SIGKILL)


async def test_a_relay_process_ends_cleanly_when_told_to(owing: Owing, tmp_path: Path) -> None:
    drafts = skipped(20)
    await owing.commit(drafts)
    with relay_process(owing, tmp_path, "relay") as process:
        await owing.settled()
        await asyncio.to_thread(process.stop)
        assert process.exit_code == 0, process.written()
    found = await owing.published(ids_of(drafts))
    assert [event_of(record)["id"] for record in found] == [made.id for made in drafts]


async def test_a_relay_ends_when_told_to_though_the_broker_hangs(
    owing: Owing, broker: Stack, tmp_path: Path
) -> None:
    drafts = skipped(20)
    with relay_process(owing, tmp_path, "relay") as process:
        await owing.commit(drafts[:10])
        await owing.settled()
        os.kill(broker.pids["kafka"], signal.SIGSTOP)
        try:
            await owing.commit(drafts[10:])
            await asyncio.to_thread(process.stop)
        finally:
            os.kill(broker.pids["kafka"], signal.SIGCONT)
        assert process.exit_code == 0, process.written()
    async with relaying(owing):
        await owing.settled()
    found = await owing.published(ids_of(drafts))
    assert [event_of(record)["id"] for record in found] == [made.id for made in drafts]


async def test_a_relay_that_slept_too_long_publishes_nothing_more(
    owing: Owing, tmp_path: Path
) -> None:
    """Stopped in the middle of its work, for longer than its transaction and its leadership last.

    Another one leads meanwhile; continued, the first one must find itself fenced.
    """
    drafts = [made for user in range(6) for made in skipped(5000, f"usr_{user}")]
    with (
        relay_process(owing, tmp_path, "sleeper") as sleeper,
        relay_process(owing, tmp_path, "other") as other,
    ):
        await owing.commit(skipped(1))
        await owing.settled()
        # So many that the relay is in the middle of them.
        for first in range(0, len(drafts), 1000):
            await owing.commit(drafts[first : first + 1000])
        await owing.owed_below(len(drafts) - 4000)
        leader, heir = (sleeper, other) if "leads" in sleeper.written() else (other, sleeper)
        os.kill(leader.pid, signal.SIGSTOP)
        meanwhile = skipped(100)
        await owing.commit(meanwhile)
        await owing.settled()
        assert "leads" in heir.written()
        os.kill(leader.pid, signal.SIGCONT)
        more = [*meanwhile, *skipped(100)]
        await owing.commit(more[100:])
        await owing.settled()
        await writes(leader, "attempt 1")
    found = [event_of(record) for record in await owing.published(ids_of(drafts + more))]
    assert Counter(event["id"] for event in found) == Counter(ids_of(drafts + more))
    for user in {event["userid"] for event in found}:
        ours = [event["id"] for event in found if event["userid"] == user]
        assert ours == [made.id for made in drafts + more if made.user_id == user]


async def writes(process: Child, text: str) -> None:
    await _until(lambda: text in process.written(), process)


async def ended(process: Child) -> None:
    await _until(process.has_ended, process)


async def _until(holds: Callable[[], bool], process: Child) -> None:
    deadline = asyncio.get_running_loop().time() + SECONDS_MAX
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, process.written()
        await asyncio.sleep(0.02)

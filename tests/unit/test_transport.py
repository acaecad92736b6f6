"""The parts of the transport that need no broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiokafka
import mode
import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState

from projections.batch import Partition
from schemas.codec import RawRecord
from streams import backlog as backlogs
from streams import transport
from streams.app import create_app
from streams.assignor import SameNumberAssignor
from streams.backlog import Backlog

PLACE = Partition("bfc.ledger", 0)


def test_members_get_the_same_numbers_of_all_topics() -> None:
    cluster = SimpleNamespace(partitions_for_topic=lambda topic: set(range(6)))
    members = {
        name: SimpleNamespace(subscription=["bfc.ledger", "app.commands"])
        for name in ("one", "two", "three", "four")
    }
    shares = SameNumberAssignor.assign(cluster, members)
    for share in shares.values():
        numbers = [sorted(numbers) for _, numbers in share.assignment]
        assert numbers[0] == numbers[1]
    owned = sorted(n for share in shares.values() for n in dict(share.assignment)["bfc.ledger"])
    assert owned == list(range(6))


async def test_room_comes_back_when_all_projections_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlogs, "OUTSTANDING_RECORDS_MAX", 10)
    backlog = Backlog()
    release = backlog.claim(PLACE, 10, claims=2)
    assert not backlog.has_room(PLACE)
    assert backlog.has_room(Partition("bfc.ledger", 1))
    release()
    assert not backlog.has_room(PLACE)
    waiting = asyncio.create_task(backlog.room(60))
    await asyncio.sleep(0)
    release()
    await waiting
    assert backlog.has_room(PLACE)


def test_the_total_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlogs, "OUTSTANDING_RECORDS_TOTAL_MAX", 10)
    backlog = Backlog()
    backlog.claim(PLACE, 10, claims=1)
    assert not backlog.has_room(Partition("market.fx", 5))


def test_who_was_refused_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlogs, "OUTSTANDING_RECORDS_TOTAL_MAX", 10)
    backlog = Backlog()
    other = Partition("bfc.ledger", 1)
    release = backlog.claim(PLACE, 10, claims=1)
    assert not backlog.asks_room(other)
    release()
    assert backlog.asks_room(other)
    assert not backlog.had_room(other, seconds=60.0)
    assert backlog.had_room(other, seconds=0.0)
    assert backlog.had_room(PLACE, seconds=60.0)


def test_commands_have_room_whatever_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlogs, "OUTSTANDING_RECORDS_TOTAL_MAX", 10)
    backlog = Backlog()
    backlog.claim(PLACE, 10, claims=1)
    commands = Partition("app.commands", 0)
    assert backlog.has_room(commands)
    release = backlog.claim(commands, 10, claims=1)
    assert not backlog.has_room(Partition("app.commands", 1))
    release()
    assert backlog.has_room(commands)
    assert not backlog.has_room(PLACE)


def test_what_nobody_reads_takes_no_room() -> None:
    backlog = Backlog()
    backlog.claim(PLACE, 1 << 30, claims=0)
    assert backlog.has_room(PLACE)


class Owner:
    """Partitions with fencing tokens, as the stores raise them: each take a moment long."""

    kafka = "127.0.0.1:9"
    furthest: Mapping[Partition, int] = {}

    def __init__(self) -> None:
        self.raised = 0
        self.kept = 0

    def names(self) -> list[str]:
        return []

    async def check_log(self) -> None:
        """It is always the same log."""

    async def take(self, places: Sequence[Partition]) -> Mapping[Partition, int]:
        self.raised += 1
        mine = self.raised
        if mine == 1:
            # The answer to the first is late.
            await asyncio.sleep(0.05)
        self.kept = mine
        return dict.fromkeys(places, 0)

    def claims(self, topic: str) -> int:
        return 1

    def read(self, together: transport.Round) -> None:
        """Nobody asks for its batches."""

    def fail(self, error: BaseException) -> None:
        raise error


class Seeking:
    """A consumer without thread and connection: what it is told to seek to, and what it takes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.owner = Owner()
        self.sought: list[tuple[Partition, int]] = []
        thread = mode.Service()
        monkeypatch.setattr(transport.BatchConsumer, "_new_consumer_thread", lambda _: thread)
        self.consumer = create_app(cast(Any, self.owner), "group", folder).consumer

        async def seek(place: Partition, offset: int) -> None:
            self.sought.append((place, offset))

        async def in_the_log(_offsets: object) -> None:
            return None

        async def fetch(_places: object, _timeout: float) -> Any:
            # Meanwhile a rebalance begins.
            self.consumer.stop_flow()
            return {PLACE: []}, {PLACE: 40}, {}

        monkeypatch.setattr(thread, "getmany", fetch, raising=False)
        monkeypatch.setattr(self.consumer, "_get_active_partitions", lambda: {PLACE})
        monkeypatch.setattr(self.consumer, "assignment", lambda: {PLACE})
        monkeypatch.setattr(self.consumer, "_seek", seek)
        monkeypatch.setattr(self.consumer, "_check_offsets", in_the_log)


@pytest.fixture
async def seeking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seeking:
    return Seeking(tmp_path, monkeypatch)


def test_what_a_worker_at_rest_sets_is_what_a_fetch_asks_with() -> None:
    """Setting a name that aiokafka does not know would do nothing, and nobody would notice."""
    asks = Fetcher._get_actions_per_node.__code__.co_names
    assert {"_fetch_max_wait_ms", "_max_partition_fetch_bytes"} <= set(asks)


@pytest.mark.parametrize(
    ("ends", "share"),
    [
        ([9, 9, 9, 9], transport.FETCH_BYTES_MAX // 4),
        ([9, 5, 5, 9], transport.FETCH_BYTES_MAX // 2),
        ([9, None, 5, 5], transport.FETCH_BYTES_MAX // 2),
        ([5, 5, 5, 5], transport.FETCH_BYTES_MAX),
        ([9] * 1_000, transport.FETCH_BYTES_LEAST),
    ],
)
async def test_partitions_that_are_behind_share_a_fetch(ends: list[int | None], share: int) -> None:
    """Each stands at 5; an end that no fetch has told yet may lie anywhere."""
    places = [aiokafka.TopicPartition("bfc.ledger", number) for number in range(len(ends))]
    subscription = SubscriptionState()
    subscription.assign_from_user(places)
    assignment = subscription.subscription.assignment
    for place, end in zip(places, ends, strict=True):
        state = assignment.state_value(place)
        state.reset_to(5)
        state.highwater = end
    consumer = SimpleNamespace(
        _subscription=subscription,
        _fetcher=SimpleNamespace(_fetch_max_wait_ms=0, _max_partition_fetch_bytes=0),
    )
    transport._Thread._set_pace(cast(Any, SimpleNamespace()), consumer, busy=True)
    assert consumer._fetcher._max_partition_fetch_bytes == share


async def test_of_two_takes_at_once_the_newer_token_is_kept(seeking: Seeking) -> None:
    consumer = seeking.consumer
    await asyncio.gather(consumer.seek_to_committed(), consumer.seek_to_committed())
    assert seeking.owner.kept == seeking.owner.raised == 2
    assert seeking.sought == [(PLACE, 0), (PLACE, 0)]


async def test_a_fetch_that_met_a_rebalance_takes_nothing_and_is_done_again(
    seeking: Seeking,
) -> None:
    """Taking then would fence whoever the partition is given to."""
    consumer = seeking.consumer
    await consumer.seek_to_committed()
    consumer.resume_flow()
    fetched = [message async for message in consumer.getmany(0.0)]
    assert fetched == []
    assert seeking.owner.raised == 1
    consumer.resume_flow()
    await consumer._getmany({PLACE}, 0.0)
    assert seeking.sought == [(PLACE, 0), (PLACE, 0)]
    assert consumer.handed(PLACE) == 0


async def test_what_faust_drops_at_a_rebalance_takes_no_room_for_ever(
    seeking: Seeking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It clears its queues then: what waits there is released by nobody, or late."""
    monkeypatch.setattr(backlogs, "OUTSTANDING_RECORDS_MAX", 10)
    consumer = seeking.consumer
    await consumer.seek_to_committed()
    records = [RawRecord(*PLACE, number, b"", b"", (), 0) for number in range(10)]
    ((message,),) = consumer._as_messages({PLACE: records}, {PLACE: 10}, {}).values()
    assert not consumer._backlog.has_room(PLACE)
    await consumer.seek_to_committed()
    assert consumer._backlog.has_room(PLACE)
    consumer._as_messages({PLACE: records}, {PLACE: 10}, {})
    message.value.round.fetched[0].release()
    assert not consumer._backlog.has_room(PLACE)

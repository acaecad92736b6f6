"""Lanes: what goes first, what waits, and what is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from projections.batch import Batch, Partition
from projections.lane import COMMANDS, Lane
from projections.memory import MemoryStore
from projections.projector import Outcome, Projector
from projections.rows import Rows
from projections.tables import Want
from schemas.envelope import Event

LEDGER, OTHER, COMMAND, PRICES = (
    Partition("bfc.ledger", 3),
    Partition("bfc.ledger", 4),
    Partition(COMMANDS, 3),
    Partition("market.prices", 3),
)


class Follower:
    """A projection that follows commands and folds nothing."""

    name = "follower"
    version = 1
    topics = ("bfc.ledger", COMMANDS, "market.prices")
    types: frozenset[str] = frozenset()
    tables = ()
    follows_commands = True

    def wants(self, event: Event) -> list[Want]:
        return []

    def fold(self, rows: Rows, event: Event) -> None:
        raise AssertionError("nothing to fold")


class Watch:
    """What a lane did: the places of each commit, and what was released."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []
        self.released = 0
        self.done = asyncio.Event()
        self.freed = asyncio.Event()
        self.asked: list[Mapping[Partition, int]] = []

    def applied(self, batches: Sequence[Batch], _outcome: Outcome) -> None:
        self.commits.append([batch.topic for batch in batches])
        self.done.set()

    async def reached(self, wanted: Mapping[Partition, int]) -> None:
        self.asked.append(dict(wanted))

    def batch(self, place: Partition, start: int, end: int, commands: Any = None) -> Batch:
        return Batch(*place, start, end, [], commands_end=commands or {}, release=self._release)

    def _release(self) -> None:
        self.released += 1
        self.freed.set()


@asynccontextmanager
async def lane_of(watch: Watch, *places: Partition) -> AsyncIterator[Lane]:
    projector = Projector(Follower(), MemoryStore())
    await projector.take(places)
    lane = Lane(projector, watch.reached, watch.applied)
    task = asyncio.create_task(lane.run())
    try:
        yield lane
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_batch_waits_for_the_commands_that_were_in_the_log() -> None:
    watch = Watch()
    async with lane_of(watch, LEDGER, COMMAND) as lane:
        lane.offer(watch.batch(LEDGER, 0, 5, {COMMAND: 2}))
        for _ in range(5):
            await asyncio.sleep(0)
        assert watch.commits == []
        lane.offer(watch.batch(COMMAND, 0, 2))
        await watch.done.wait()
        assert watch.commits == [[COMMANDS, "bfc.ledger"]]
        assert watch.released == 2


async def test_what_waits_for_commands_holds_up_no_other_partition() -> None:
    watch = Watch()
    async with lane_of(watch, LEDGER, COMMAND, OTHER) as lane:
        lane.offer(watch.batch(LEDGER, 0, 5, {COMMAND: 2}))
        lane.offer(watch.batch(LEDGER, 5, 6))
        lane.offer(watch.batch(OTHER, 0, 7))
        await watch.done.wait()
        assert watch.commits == [["bfc.ledger"]]
        assert lane.projector.checkpoints[OTHER].next_offset == 7
        watch.done.clear()
        lane.offer(watch.batch(COMMAND, 0, 2))
        await watch.done.wait()
        assert lane.projector.checkpoints[LEDGER].next_offset == 6


async def test_what_is_pending_makes_one_commit_with_commands_first() -> None:
    watch = Watch()
    async with lane_of(watch, LEDGER, COMMAND) as lane:
        lane.offer(watch.batch(LEDGER, 0, 5))
        lane.offer(watch.batch(LEDGER, 5, 7))
        lane.offer(watch.batch(COMMAND, 0, 2))
        await watch.done.wait()
        assert watch.commits == [[COMMANDS, "bfc.ledger", "bfc.ledger"]]


async def test_market_data_waits_for_commands_of_other_lanes() -> None:
    watch = Watch()
    async with lane_of(watch, PRICES) as lane:
        ends = {Partition(COMMANDS, n): n + 1 for n in range(3)}
        lane.offer(watch.batch(PRICES, 0, 5, ends))
        await watch.done.wait()
        assert watch.asked == [ends]


async def test_partitions_that_are_not_owned_are_released_at_once() -> None:
    watch = Watch()
    async with lane_of(watch, LEDGER) as lane:
        lane.offer(watch.batch(COMMAND, 0, 2))
        assert watch.released == 1


async def test_a_fenced_lane_lets_go_and_goes_on_with_the_others() -> None:
    watch = Watch()
    async with lane_of(watch, LEDGER, COMMAND) as lane:
        store: Any = lane.projector._store
        await store.take("follower", [LEDGER])
        lane.offer(watch.batch(LEDGER, 0, 5))
        await watch.freed.wait()
        assert LEDGER not in lane.projector.checkpoints
        lane.offer(watch.batch(COMMAND, 0, 2))
        await watch.done.wait()
        assert watch.commits == [[COMMANDS]]


async def test_what_another_worker_has_taken_does_not_stop_other_numbers() -> None:
    watch = Watch()
    async with lane_of(watch, LEDGER, OTHER) as lane:
        store: Any = lane.projector._store
        await store.take("follower", [LEDGER])
        lane.offer(watch.batch(LEDGER, 0, 5))
        lane.offer(watch.batch(OTHER, 0, 7))
        await watch.done.wait()
        assert {place: held.next_offset for place, held in lane.projector.checkpoints.items()} == {
            OTHER: 7
        }
        assert watch.commits == [["bfc.ledger"]]
        watch.done.clear()
        lane.offer(watch.batch(OTHER, 7, 9))
        await watch.done.wait()
        assert lane.projector.checkpoints[OTHER].next_offset == 9
        assert watch.released == 3


async def test_a_closed_lane_finishes_what_it_has_in_hand_and_takes_nothing_more() -> None:
    watch = Watch()
    async with lane_of(watch, LEDGER) as lane:
        await lane.close()
        lane.offer(watch.batch(LEDGER, 0, 5))
        assert watch.released == 1
        assert watch.commits == []

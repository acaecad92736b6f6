"""Who stands still, and who only waits: the watchdog's judgement, with time as it pleases."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping

import pytest

from projections.batch import Partition
from projections.health import Health
from projections.store import Unavailable
from streams.crew import Holding
from streams.watchdog import (
    HEALS_MAX,
    LOOK_SECONDS_MAX,
    Stalled,
    Standing,
    Unhealed,
    Watch,
    Watchdog,
)

PLACE = Partition("bfc.ledger", 0)
OTHER = Partition("bfc.ledger", 1)
LANE = object()
SECONDS = 10.0
IN_HAND = 60.0


def standing(
    reached: int,
    end: int,
    *,
    place: Partition = PLACE,
    handed: int | None = None,
    lane: object = LANE,
    excuse: str | None = None,
) -> Standing:
    at = reached if handed is None else handed
    return Standing("totals", place, reached, end, at, lane, excuse)


def watch() -> Watch:
    return Watch(SECONDS, IN_HAND)


def test_what_is_not_fetched_stands_still_after_its_time() -> None:
    seen = watch()
    stuck = standing(5, 9)
    assert seen.look([stuck], 0) == []
    assert seen.look([stuck], SECONDS - 1) == []
    assert seen.look([stuck], SECONDS) == [stuck]


def test_the_time_begins_when_there_is_something_to_do() -> None:
    seen = watch()
    for now in range(0, 1000, 100):
        assert seen.look([standing(5, 5)], now) == []
    assert seen.look([standing(5, 6)], 901) == []
    assert seen.look([standing(5, 6)], 900 + SECONDS) == [standing(5, 6)]


def test_every_step_counts_however_small() -> None:
    seen = watch()
    for step in range(100):
        assert seen.look([standing(step, 1000)], step * (SECONDS - 1)) == []


def test_an_excuse_holds_as_long_as_it_lasts() -> None:
    seen = watch()
    assert seen.look([standing(5, 9)], 0) == []
    assert seen.look([standing(5, 9, excuse="away")], 100) == []
    assert seen.look([standing(5, 9)], 101) == []
    assert seen.look([standing(5, 9)], 100 + SECONDS) == [standing(5, 9)]


def test_records_in_hand_have_as_long_as_a_statement() -> None:
    seen = watch()
    held = standing(5, 9, handed=9)
    assert seen.look([held], 0) == []
    assert seen.look([held], SECONDS + IN_HAND - 1) == []
    assert seen.look([held], SECONDS + IN_HAND) == [held]


def test_records_in_hand_wait_their_turn_in_a_lane_that_moves() -> None:
    seen = watch()
    for step in range(100):
        found = seen.look(
            [standing(5, 9, handed=9), standing(step, 1000, place=OTHER, handed=1000)],
            step * 60.0,
        )
        assert found == []
    lane = object()
    for step in range(100, 103):
        found = seen.look(
            [standing(5, 9, handed=9), standing(step, 1000, place=OTHER, lane=lane)], step * 60.0
        )
    assert found == [standing(5, 9, handed=9)]


def test_a_fetch_that_misses_one_partition_is_no_less_a_stall() -> None:
    seen = watch()
    for step in range(3):
        found = seen.look([standing(5, 9), standing(step, 1000, place=OTHER)], step * SECONDS)
    assert found == [standing(5, 9)]


def test_what_was_another_workers_for_a_while_begins_anew() -> None:
    seen = watch()
    seen.look([standing(5, 9)], 0)
    seen.look([], 5)
    assert seen.look([standing(5, 9)], SECONDS + 1) == []


class Crew:
    """What the watchdog sees of a crew."""

    def __init__(self, health: Health, *holdings: Holding) -> None:
        self.health = health
        self._holdings = list(holdings)

    @property
    def owning(self) -> asyncio.Event:
        return self.health.owning

    def holdings(self) -> list[Holding]:
        return self._holdings


class Consumer:
    """Has handed over so much."""

    def __init__(self, handed: int = 5, refused_ago: float = math.inf) -> None:
        self._handed = handed
        self._refused_ago = refused_ago

    def handed(self, place: Partition) -> int:
        return self._handed

    def had_room(self, place: Partition, seconds: float) -> bool:
        return self._refused_ago > seconds


class Scene:
    """A worker that owns one partition and stands at 5 of 9; time passes where it sleeps."""

    def __init__(self, *, waits: bool = False, held: bool = True) -> None:
        self.health = Health()
        self.health.owning.set()
        self.now = 0.0
        self.stopped_for = 0.0
        self.reached = 5
        self.away: Exception | None = None
        self.looks_left = 0
        self.seen = asyncio.Event()
        self.crew = Crew(self.health, Holding("totals", PLACE, LANE, held, waits))
        self.watchdog = Watchdog(
            Watch(SECONDS, IN_HAND),
            self.ends,
            self.checkpoints,
            self.health,
            lambda: self.now,
            self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        if not self.looks_left:
            self.seen.set()
            await asyncio.Event().wait()
        self.looks_left -= 1
        self.now += seconds + self.stopped_for
        await asyncio.sleep(0)

    async def ends(self, places: Iterable[Partition]) -> Mapping[Partition, int]:
        if self.away is not None:
            raise self.away
        return dict.fromkeys(places, 9)

    async def checkpoints(self) -> Mapping[str, Mapping[Partition, int]]:
        return {"totals": {PLACE: self.reached}}

    async def stalls(self, consumer: Consumer, looks: int = 50) -> bool:
        """Whether it is found to stand still within so many looks."""
        self.looks_left = looks
        self.seen.clear()
        running = asyncio.create_task(
            self.watchdog.run(self.crew, lambda: consumer)  # type: ignore[arg-type]
        )
        seen = asyncio.create_task(self.seen.wait())
        await asyncio.wait([running, seen], return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        seen.cancel()
        (end, _) = await asyncio.gather(running, seen, return_exceptions=True)
        return isinstance(end, Stalled)


async def test_a_partition_that_stands_still_is_told_with_the_facts() -> None:
    scene = Scene()
    scene.looks_left = 50
    with pytest.raises(Stalled, match=r"totals stands at bfc\.ledger:0:5 of 9 \(not fetched\)"):
        await scene.watchdog.run(scene.crew, lambda: Consumer())  # type: ignore[arg-type]
    assert scene.watchdog.stalls == 1
    assert scene.now < SECONDS + LOOK_SECONDS_MAX


async def test_a_lane_that_lost_its_partition_does_not_count_as_having_it_in_hand() -> None:
    assert await Scene(held=False).stalls(Consumer(handed=9))


async def test_who_waits_for_the_commands_of_others_is_left_alone() -> None:
    scene = Scene(waits=True)
    assert not await scene.stalls(Consumer(handed=9))
    assert await scene.stalls(Consumer(handed=5))


async def test_a_partition_that_lacked_room_lately_waits_for_others() -> None:
    """It may have room at every look and still not have had its turn."""
    assert not await Scene().stalls(Consumer(refused_ago=0.0))
    assert not await Scene().stalls(Consumer(refused_ago=SECONDS - 1))
    assert await Scene().stalls(Consumer(refused_ago=SECONDS + 1))


async def test_nothing_stands_still_while_something_is_away() -> None:
    scene = Scene()
    call = object()
    scene.health.lost("totals", call, "commits", "gone")
    assert not await scene.stalls(Consumer())
    scene.health.over("totals", call)
    assert await scene.stalls(Consumer())


async def test_a_broker_that_does_not_answer_is_reported_and_excuses() -> None:
    scene = Scene()
    scene.away = Unavailable("no broker")
    assert not await scene.stalls(Consumer())
    assert [(each.part, each.error) for each in scene.health.troubles] == [("kafka", "no broker")]
    scene.away = None
    assert await scene.stalls(Consumer())
    assert not [each for each in scene.health.troubles if each.part == "kafka"]


async def test_a_process_that_was_stopped_itself_begins_to_count_anew() -> None:
    scene = Scene()
    scene.stopped_for = 10_000.0
    assert not await scene.stalls(Consumer())
    scene.stopped_for = 0.0
    assert await scene.stalls(Consumer())


async def test_partitions_that_are_never_assigned_are_a_stall() -> None:
    scene = Scene()
    scene.health.owning.clear()
    assert not await scene.stalls(Consumer(), looks=10)
    assert await scene.stalls(Consumer(), looks=1000)
    call = object()
    scene.health.lost("totals", call, "takes partitions", "gone")
    assert not await scene.stalls(Consumer(), looks=1000)


async def test_beginnings_that_do_not_help_are_counted_and_then_given_up() -> None:
    scene = Scene()
    for attempt in range(HEALS_MAX):
        assert await scene.stalls(Consumer())
        scene.watchdog.heal(Stalled(f"stall {attempt}"))
        assert [each.error for each in scene.health.troubles] == [f"stall {attempt}"]
    assert await scene.stalls(Consumer())
    with pytest.raises(Unhealed, match=f"{HEALS_MAX} new beginnings did not help: again"):
        scene.watchdog.heal(Stalled("again"))


async def test_a_beginning_that_helped_is_forgotten() -> None:
    scene = Scene()
    for _ in range(2 * HEALS_MAX):
        assert await scene.stalls(Consumer())
        scene.watchdog.heal(Stalled("it"))
        scene.reached = 9
        assert not await scene.stalls(Consumer(handed=9))
        assert scene.health.troubles == []
        scene.reached = 5
    assert scene.watchdog.heals == 2 * HEALS_MAX

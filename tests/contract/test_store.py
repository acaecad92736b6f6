"""The contract of the row store, on every backend: the real projector over each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections.batch import Batch, DeadLetter, Move, Partition
from projections.memory import MemoryIndex, MemoryStore, run
from projections.postgres.index import PostgresIndex
from projections.postgres.migrate import migrate
from projections.postgres.pool import Pool, acquire, open_pool
from projections.postgres.store import PostgresStore
from projections.projector import Fate, Hole, Outcome, Projector
from projections.rows import Changes, Timer
from projections.store import Commit, Fenced, Index, Store, Unavailable
from projections.tables import Want
from schemas.envelope import Event
from schemas.topics import TOPICS
from tests import totals
from tests.builders import at, draft, events_of, posted, record_of
from tests.judging import judged
from tests.totals import TOTALS, HungryTotals, Total, Totals


@dataclass
class Backend:
    store: Any
    index: Index
    rows: Callable[[], Awaitable[list[Any]]]
    derived: Callable[[], Awaitable[list[str]]]
    dead_letters: Callable[[], Awaitable[list[tuple[str, str]]]]
    timers: Callable[[], Awaitable[list[Any]]]


@pytest.fixture(params=["memory", "postgres"])
async def backend(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Backend]:
    if request.param == "memory":
        yield _memory()
    else:
        async with open_pool(database) as pool:
            await migrate(pool)
            async with acquire(pool) as connection:
                await connection.execute(totals.DDL)
            yield await _postgres(pool)


def _memory() -> Backend:
    store = MemoryStore()

    async def rows() -> list[Any]:
        return store.table(TOTALS)

    async def derived() -> list[str]:
        return [made.id for made in store.derived]

    async def dead_letters() -> list[tuple[str, str]]:
        found = store.dead_letters.values()
        return sorted((str(letter.position), letter.reason) for letter in found)

    async def timers() -> list[Any]:
        return [timer.due for timer in store.timers.values()]

    return Backend(store, MemoryIndex(), rows, derived, dead_letters, timers)


async def _postgres(pool: Any) -> Backend:
    store = PostgresStore(pool)

    async def rows() -> list[Any]:
        async with acquire(pool) as connection:
            users = [r[0] for r in await connection.fetch("select distinct user_id from totals")]
        found = await store.load([Want(TOTALS, (user,)) for user in users])
        return sorted((row for rows in found.values() for row in rows), key=TOTALS.key_of)

    async def derived() -> list[str]:
        async with acquire(pool) as connection:
            owed = await connection.fetch(
                "select identity from outbox where topic <> 'dead-letters' order by seq"
            )
        return [row[0] for row in owed]

    async def dead_letters() -> list[tuple[str, str]]:
        async with acquire(pool) as connection:
            found = await connection.fetch("select * from dead_letters")
        return sorted((f"{r['topic']}:{r['partition']}:{r['offset']}", r["reason"]) for r in found)

    async def timers() -> list[Any]:
        async with acquire(pool) as connection:
            return [row[0] for row in await connection.fetch("select due from timers")]

    index = await PostgresIndex.open(pool, list(TOPICS))
    return Backend(store, index, rows, derived, dead_letters, timers)


async def apply(
    backend: Backend, projector: Projector, events: Sequence[Event], end: int | None = None
) -> Outcome:
    """Give a projector one batch of one partition."""
    topic, number, start = events[0].position
    place = Partition(topic, number)
    if place not in projector.checkpoints:
        await projector.take([place])
    repeated = await judged(backend.index, events)
    batch = Batch(
        topic,
        number,
        min(start, projector.checkpoints[place].next_offset),
        end or events[-1].position.offset + 1,
        events,
        frozenset(events[n].position.offset for n in repeated),
    )
    return await projector.apply([batch])


async def test_rows_derived_events_and_checkpoint_move_together(backend: Backend) -> None:
    events = events_of([posted("10"), posted("2500"), posted("0.5", "debit")])
    projector = Projector(Totals(), backend.store)
    outcome = await apply(backend, projector, events)
    assert outcome.fates[Fate.APPLIED] == 3
    (row,) = await backend.rows()
    assert row == Total("usr_17", "acc_1", Decimal("2509.5"), 3, tuple(e.id for e in events))
    assert len(await backend.derived()) == 1
    place = Partition("bfc.ledger", events[0].position.partition)
    assert (await backend.store.checkpoint("totals", place)).next_offset == 3


async def test_a_batch_again_changes_nothing(backend: Backend) -> None:
    events = events_of([posted("10"), posted("2500")])
    await apply(backend, Projector(Totals(), backend.store), events)
    before = await backend.rows(), await backend.derived()
    await apply(backend, Projector(Totals(), backend.store), events)
    assert (await backend.rows(), await backend.derived()) == before


async def test_a_repeated_event_takes_effect_once(backend: Backend) -> None:
    events = events_of([posted("10", id="same"), posted("10", id="same"), posted("1", id="other")])
    projector = Projector(Totals(), backend.store)
    outcome = await apply(backend, projector, events)
    assert outcome.fates[Fate.DUPLICATE] == 1
    (row,) = await backend.rows()
    assert row.total == 11
    later = events_of(
        [posted("10", id="same")], start={("bfc.ledger", events[0].position.partition): 3}
    )
    assert (await apply(backend, projector, later)).fates[Fate.DUPLICATE] == 1
    assert (await backend.rows())[0].total == 11


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (totals.REFUSED, "data.amount: is refused"),
        (totals.RAISES, "ZeroDivisionError: a bug"),
    ],
)
async def test_a_refused_event_is_a_dead_letter_and_leaves_nothing(
    backend: Backend, amount: Decimal, reason: str
) -> None:
    events = events_of([posted("1"), posted(str(amount)), posted("2")])
    outcome = await apply(backend, Projector(Totals(), backend.store), events)
    assert outcome.fates[Fate.DEAD_LETTER] == 1
    assert await backend.dead_letters() == [(str(events[1].position), reason)]
    (row,) = await backend.rows()
    assert (row.total, row.entries) == (3, 2)


async def test_a_refused_id_is_not_used_up(backend: Backend) -> None:
    events = events_of(
        [
            posted(str(totals.REFUSED), id="x"),
            posted("5", id="x"),
            posted("5", id="x"),
            posted("7", id="y"),
        ]
    )
    outcome = await apply(backend, Projector(Totals(), backend.store), events)
    assert outcome.fates[Fate.DUPLICATE] == 1
    assert (await backend.rows())[0].total == 12
    later = events_of(
        [posted("5", id="x")], start={("bfc.ledger", events[0].position.partition): 4}
    )
    outcome = await apply(backend, Projector(Totals(), backend.store), later)
    assert outcome.fates[Fate.DUPLICATE] == 1


async def test_whoever_had_the_partition_is_fenced(backend: Backend) -> None:
    events = events_of([posted("10"), posted("20")])
    old, new = Projector(Totals(), backend.store), Projector(Totals(), backend.store)
    await apply(backend, old, events[:1])
    await apply(backend, new, events)
    with pytest.raises(Fenced):
        await apply(backend, old, events[1:])
    assert (await backend.rows())[0].total == 30


async def test_a_batch_beyond_the_checkpoint_is_an_error(backend: Backend) -> None:
    events = events_of([posted("10"), posted("20")])
    projector = Projector(Totals(), backend.store)
    await apply(backend, projector, events[:1])
    place = next(iter(projector.checkpoints))
    with pytest.raises(Hole):
        await projector.apply([Batch(*place, 2, 3, events[1:])])


async def test_a_log_may_begin_with_what_is_no_event() -> None:
    """A transaction that was aborted, say: its records and its marker take offsets, too."""
    first = events_of([posted("10")])[0]
    event = msgspec.structs.replace(first, position=first.position._replace(offset=2))
    store = await run(Totals(), [[event]])
    assert store.checkpoints["totals", Partition(*event.position[:2])].next_offset == 3


async def test_offsets_may_have_gaps(backend: Backend) -> None:
    events = events_of([posted("10"), posted("20"), posted("30")])
    projector = Projector(Totals(), backend.store)
    await apply(backend, projector, [events[0], events[2]], end=7)
    place = next(iter(projector.checkpoints))
    assert (await backend.store.checkpoint("totals", place)).next_offset == 7
    assert (await backend.rows())[0].total == 40


async def test_rows_are_loaded_on_demand(backend: Backend) -> None:
    events = events_of([posted("10", account=f"acc_{n % 3}") for n in range(9)])
    await apply(backend, Projector(HungryTotals(), backend.store), events)
    assert [row.total for row in await backend.rows()] == [30, 30, 30]


async def test_unknown_outcomes_are_resolved_by_the_checkpoint(backend: Backend) -> None:
    """The connection is lost at COMMIT, once after it took effect and once before."""
    events = events_of([posted("10"), posted("20")])
    for event, lost_after in zip(events, (True, False), strict=True):
        flaky = Flaky(backend.store, lost_after)
        projector = Projector(Totals(), flaky, sleep=_no_wait)
        await apply(replace(backend, store=flaky), projector, [event])
        assert flaky.lost
    assert (await backend.rows())[0].total == 30


class Flaky:
    """A store whose first commit ends with an unknown outcome."""

    def __init__(self, store: Store, lost_after: bool) -> None:
        self._store = store
        self._lost_after = lost_after
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, commit: Commit) -> None:
        if self._lost_after or self.lost:
            await self._store.commit(commit)
        if not self.lost:
            self.lost = True
            raise Unavailable("the connection was lost at COMMIT")


async def _no_wait(_seconds: float) -> None:
    return


async def test_unreadable_records_are_kept_once(backend: Backend) -> None:
    record = record_of(posted("1"), offset=4)
    position = events_of([posted("1")])[0].position._replace(offset=4)
    letter = DeadLetter("*", position, ": is not JSON", record)
    assert await judged(backend.index, [], [letter]) == set()
    assert await judged(backend.index, [], [letter]) == set()


async def test_timers_are_set_moved_and_cancelled(backend: Backend) -> None:
    place = Partition("bfc.ledger", 0)
    epoch = (await backend.store.take("totals", [place]))[place].epoch
    for number, (due, left) in enumerate([(at(1), [at(1)]), (at(9), [at(9)]), (None, [])]):
        changes = Changes(timers={("u", "t"): Timer("t", "u", due, {"why": "test"})})
        move = Move(*place, number, number + 1, epoch)
        await backend.store.commit(Commit("totals", 1, [move], changes))
        assert await backend.timers() == left


async def test_two_events_in_one_commit_of_several_partitions(backend: Backend) -> None:
    events = events_of([posted("10", user=f"usr_{n}") for n in range(20)])
    by_partition: dict[int, list[Event]] = {}
    for event in events:
        by_partition.setdefault(event.position.partition, []).append(event)
    projector = Projector(Totals(), backend.store)
    places = [Partition("bfc.ledger", number) for number in by_partition]
    await projector.take(places)
    await projector.apply(
        [Batch("bfc.ledger", n, 0, len(part), part) for n, part in by_partition.items()]
    )
    assert len(await backend.rows()) == 20


amounts = st.sampled_from(["1", "2.5", "1500", "666", "667"])
entries = st.lists(st.tuples(amounts, st.integers(0, 2), st.integers(0, 6)), max_size=25)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(entries, st.lists(st.integers(1, 6), min_size=1, max_size=10))
async def test_any_split_into_batches_gives_the_same(
    made: list[tuple[str, int, int]], sizes: list[int]
) -> None:
    drafts = [posted(amount, account=f"a{account}", id=f"id{n}") for amount, account, n in made]
    events = events_of(drafts)
    results = []
    for cut in ([len(events)], sizes):
        backend = _memory()
        projector = Projector(Totals(), backend.store)
        rest, turn = list(events), 0
        while rest:
            size = cut[turn % len(cut)] or 1
            await apply(backend, projector, rest[:size])
            rest, turn = rest[size:], turn + 1
        seen = (await backend.rows(), await backend.derived(), await backend.dead_letters())
        results.append(seen)
    assert results[0] == results[1]


async def test_a_row_that_the_database_refuses_is_found_by_halving(pool: Pool) -> None:
    async with acquire(pool) as connection:
        await connection.execute(totals.DDL)
    backend = await _postgres(pool)
    amounts = ["1"] * 9 + [str(totals.TOO_LONG)] + ["2"] * 7
    events = events_of([posted(amount) for amount in amounts])
    outcome = await apply(backend, Projector(Totals(), backend.store), events)
    assert outcome.fates[Fate.DEAD_LETTER] == 1
    assert [position for position, _ in await backend.dead_letters()] == [str(events[9].position)]
    assert (await backend.rows())[0].total == 9 + 14


def test_the_toy_events_are_what_the_suite_thinks() -> None:
    (event,) = events_of([draft("bfc.transaction.posted", posted("1").data)])
    assert event.type in Totals.types

"""Commits of many lanes at once: in few transactions, and each with an end of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from projections.batch import Move, Partition
from projections.postgres.group import GROUP_ROWS_MAX, SMALL_ROWS_MAX, GroupCommit
from projections.postgres.pool import acquire
from projections.postgres.progress import following
from projections.postgres.store import PostgresStore
from projections.rows import Changes, Rows
from projections.store import Commit, Fenced, RowsRefused, Unavailable
from tests import totals
from tests.totals import TOTALS, Total

NAMES = [f"projection-{n}" for n in range(12)]
PLACES = [Partition("bfc.ledger", n) for n in range(2)]


@pytest.fixture
async def pool(pool: Any) -> Any:
    async with acquire(pool) as connection:
        await connection.execute(totals.DDL)
    return pool


async def taken(store: PostgresStore) -> list[Commit]:
    """A commit for each projection, of one row."""
    commits = []
    for name in NAMES:
        owned = await store.take(name, PLACES)
        moves = [Move(*place, 0, 7, owned[place].epoch) for place in PLACES]
        commits.append(Commit(name, 1, moves, changes_of(name)))
    return commits


def changes_of(name: str, note: str = "") -> Changes:
    rows = Rows()
    rows.put(TOTALS, Total(name, "acc", Decimal(5), 1, (note,)))
    rows.accept()
    return rows.changes


async def ends(store: PostgresStore, commits: list[Commit]) -> list[BaseException | None]:
    made = [store.commit(commit) for commit in commits]
    return await asyncio.gather(*made, return_exceptions=True)


async def transactions(pool: Any, where: str = "next_offset = 7") -> int:
    """How many of them wrote the checkpoints as they are."""
    async with acquire(pool) as connection:
        sql = f"select count(distinct xmin::text) from checkpoints where {where}"
        return int(await connection.fetchval(sql))


async def people(pool: Any) -> set[str]:
    async with acquire(pool) as connection:
        return {row[0] for row in await connection.fetch("select user_id from totals")}


async def test_those_who_come_together_go_together(pool: Any, database: str) -> None:
    store = PostgresStore(pool)
    commits = await taken(store)
    async with following(database) as progress:
        assert await ends(store, commits) == [None] * len(NAMES)
        wanted = dict.fromkeys(PLACES, 7)
        for name in NAMES:
            await progress.reached(name, wanted, timeout=60)
    assert await people(pool) == set(NAMES)
    assert await transactions(pool) == 1


async def test_each_has_an_end_of_its_own(pool: Any) -> None:
    store = PostgresStore(pool)
    commits = await taken(store)
    await store.take(NAMES[3], PLACES[1:])
    commits[5] = replace(commits[5], changes=changes_of(NAMES[5], note="\0"))
    found = await ends(store, commits)
    assert isinstance(found[3], Fenced)
    assert isinstance(found[5], RowsRefused)
    assert [n for n, error in enumerate(found) if error] == [3, 5]
    assert await people(pool) == set(NAMES) - {NAMES[3], NAMES[5]}
    # Neither of the lost one's checkpoints has moved, though one was still its own.
    for place in PLACES:
        assert (await store.checkpoint(NAMES[3], place)).next_offset == 0


async def test_a_large_one_goes_by_itself_beside_the_others(pool: Any, database: str) -> None:
    store = PostgresStore(pool)
    small, large, *_ = await taken(store)
    rows = Rows()
    for number in range(SMALL_ROWS_MAX + 1):
        rows.put(TOTALS, Total("large", f"acc_{number}", Decimal(1), 1, ()))
    rows.accept()
    large = replace(large, changes=rows.changes)
    other = await asyncpg.connect(database)
    try:
        async with other.transaction():
            await other.execute(
                "select 1 from checkpoints where projection = $1 for update", small.projection
            )
            held = asyncio.create_task(store.commit(small))
            await store.commit(large)
            assert not held.done()
        await held
    finally:
        await other.close()
    assert await people(pool) == {small.projection, "large"}


async def test_one_that_is_given_up_does_not_take_the_others_along() -> None:
    """Nor do those who come later wait for it, once nobody waits for its group."""
    written: list[list[str]] = []
    hangs, goes_on = asyncio.Event(), asyncio.Event()

    async def write(commits: Any) -> None:
        written.append([commit.projection for commit in commits])
        hangs.set()
        if commits[0].projection == "a":
            await goes_on.wait()

    group = GroupCommit(write)
    both = [asyncio.create_task(group.commit(Commit(name, 1, ()))) for name in ("a", "b")]
    await hangs.wait()
    late, given_up = [asyncio.create_task(group.commit(Commit(name, 1, ()))) for name in "cd"]
    await asyncio.sleep(0)
    both[0].cancel()
    given_up.cancel()
    await asyncio.wait([both[0], given_up])
    assert written == [["a", "b"]]
    assert not both[1].done()
    both[1].cancel()
    await late
    assert written == [["a", "b"], ["c"]]


async def test_everybody_hears_that_the_outcome_is_unknown() -> None:
    async def write(_commits: Any) -> None:
        raise Unavailable("gone")

    group = GroupCommit(write)
    made = [group.commit(Commit(name, 1, ())) for name in ("a", "b")]
    found = await asyncio.gather(*made, return_exceptions=True)
    assert [type(error) for error in found] == [Unavailable, Unavailable]


async def test_a_group_has_an_end() -> None:
    sizes: list[int] = []

    async def write(commits: Any) -> None:
        sizes.append(len(commits))

    rows = Rows()
    for number in range(SMALL_ROWS_MAX):
        rows.put(TOTALS, Total("a", f"acc_{number}", Decimal(1), 1, ()))
    rows.accept()
    fit = GROUP_ROWS_MAX // SMALL_ROWS_MAX
    group = GroupCommit(write)
    await asyncio.gather(*(group.commit(Commit("a", 1, (), rows.changes)) for _ in range(fit + 1)))
    assert sizes == [fit, 1]

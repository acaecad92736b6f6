"""What an operator may do with dead letters, on PostgreSQL; and what follows for the folds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from projections import dead_letters
from projections.batch import Batch, DeadLetter, Move, Partition
from projections.intake import Fetched, Intake
from projections.memory import MemoryIndex, MemoryStore
from projections.postgres.dead_letters import (
    RETRY_BYTES_MAX,
    Amount,
    Chosen,
    Decision,
    TooLarge,
    count,
    count_by,
    discard,
    find,
    retry,
)
from projections.postgres.flushes import PostgresFlushLog
from projections.postgres.index import PostgresIndex
from projections.postgres.pool import Pool, acquire
from projections.postgres.store import PostgresStore
from projections.projector import Fate, Projector
from projections.rows import Rows
from projections.store import Commit
from schemas.codec import RawRecord
from schemas.envelope import Event
from schemas.position import Position
from schemas.topics import TOPICS
from tests.builders import event_of, posted, record_of
from tests.judging import judged
from tests.totals import TOTALS, Totals

PLACE = Partition("bfc.ledger", 3)
ME = Decision("ops", "mended")
OPEN = Chosen(states=["open"])


class Ward:
    """A database with dead letters in it."""

    def __init__(self, pool: Any, index: PostgresIndex) -> None:
        self.pool = pool
        self.index = index
        self.store = PostgresStore(pool)
        self._reached: dict[str, int] = {}

    async def unreadable(self, offset: int, **changes: Any) -> DeadLetter:
        """One that nobody could read."""
        record = RawRecord(*PLACE, offset, b"usr_1", b"not json", [("mine", b"kept")], 0)
        record = record._replace(**changes)
        place = Position(record.topic, record.partition, record.offset)
        letter = DeadLetter("*", place, ": is not JSON", record)
        await judged(self.index, [], [letter])
        return letter

    async def refused(
        self,
        event: Event,
        projection: str = "totals",
        reason: str = "data.amount: is refused",
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> DeadLetter:
        """One that a projection refused."""
        record = RawRecord(*event.position, b"usr_17", event.raw, headers, 0)
        letter = DeadLetter(
            projection, event.position, reason, record, event.key, event.id, event.user_id
        )
        await self._commit(projection, event.position.offset, dead_letters=[letter])
        return letter

    async def applied(self, event: Event, projection: str = "totals") -> None:
        """The event that had been refused is applied, where it stands now."""
        await self._commit(projection, event.position.offset, resolved=[event.key])

    async def _commit(self, projection: str, offset: int, **what: Any) -> None:
        now = (await self.store.take(projection, [PLACE]))[PLACE]
        end = max(offset + 1, now.next_offset + 1)
        move = Move(*PLACE, now.next_offset, end, now.epoch)
        await self.store.commit(Commit(projection, 1, [move], **what))

    async def owed(self, topic: str = "bfc.ledger") -> list[Any]:
        """What the log is owed, in order."""
        async with acquire(self.pool) as connection:
            return list(
                await connection.fetch("select * from outbox where topic = $1 order by seq", topic)
            )

    async def states(self) -> dict[tuple[str, int], str]:
        found = await find(self.pool, Chosen(), 1000)
        return {(one.projection, one.position.offset): one.state for one in found}


@pytest.fixture
async def ward(pool: Pool) -> Ward:
    return Ward(pool, await PostgresIndex.open(pool, list(TOPICS)))


def at_offset(event: Event, offset: int) -> Event:
    return msgspec.structs.replace(event, position=Position(*PLACE, offset))


async def test_every_filter_says_which_are_meant(ward: Ward) -> None:
    event = at_offset(event_of(posted("666", user="usr_17")), 7)
    await ward.unreadable(1)
    await ward.unreadable(2, topic="journeys", key=b"usr_2")
    await ward.refused(event)
    await ward.refused(event, "rules", "data.rule: rule x is not known")

    async def offsets(**filters: Any) -> list[tuple[str, int]]:
        chosen = Chosen(**filters)
        found = await find(ward.pool, chosen, 100)
        assert (await count(ward.pool, chosen)).letters == len(found)
        return [(one.projection, one.position.offset) for one in found]

    first, second, third, fourth = ("*", 1), ("*", 2), ("totals", 7), ("rules", 7)
    assert sorted(await offsets()) == sorted([first, second, third, fourth])
    assert await offsets(projections=["*"]) == [first, second]
    assert await offsets(projections=["rules", "totals"]) == [third, fourth]
    assert await offsets(topics=["journeys"]) == [second]
    assert await offsets(reason="NOT JSON") == [first, second]
    assert await offsets(reason="100%") == []
    assert await offsets(user="usr_17") == [third, fourth]
    assert await offsets(user="usr_2") == [second], "nobody could read it, but its key says so"
    assert await offsets(positions=[Position(*PLACE, 7)], projections=["rules"]) == [fourth]
    assert await offsets(positions=[]) == []
    assert await offsets(states=["retried", "discarded"]) == []
    (when,) = {one.created_at for one in await find(ward.pool, Chosen(projections=["rules"]), 1)}
    assert await offsets(since=when) == [fourth]
    assert await offsets(until=when, topics=["bfc.ledger"]) == [first, third]
    assert await offsets(since=when + timedelta(days=1)) == []
    assert await count(ward.pool, Chosen()) == Amount(letters=4, records=3)
    assert await count_by(ward.pool, Chosen(), "projection") == [
        ("*", 2),
        ("rules", 1),
        ("totals", 1),
    ]
    assert await count_by(ward.pool, Chosen(), "path") == [
        ("", 2),
        ("data.amount", 1),
        ("data.rule", 1),
    ]


async def test_a_retry_owes_the_record_as_it_was_once_and_in_the_order_of_the_log(
    ward: Ward,
) -> None:
    for offset in (5, 3, 4):
        await ward.unreadable(offset, value=None if offset == 4 else b"%d" % offset)
    assert await retry(ward.pool, OPEN, ME) == Amount(3, 3)
    owed = await ward.owed()
    assert [row["value"] for row in owed] == [b"3", None, b"5"]
    assert [row["key"] for row in owed] == [b"usr_1"] * 3
    assert owed[0]["header_names"] == ["mine", "dl-retry"]
    assert owed[0]["header_values"] == [b"kept", b"*|bfc.ledger|3|3"]
    assert [row["identity"] for row in owed] == [f"*|bfc.ledger|3|{n}" for n in (3, 4, 5)]
    (one, *_) = await find(ward.pool, Chosen(), 10)
    assert (one.state, one.decided_by, one.decided_why) == ("retried", "ops", "mended")
    assert await retry(ward.pool, OPEN, ME) == Amount(0, 0)
    assert await retry(ward.pool, Chosen(positions=[Position(*PLACE, 3)]), ME) == Amount(0, 0)
    assert len(await ward.owed()) == 3


async def test_two_operators_at_once_retry_each_record_once(ward: Ward) -> None:
    event = at_offset(event_of(posted("666")), 0)
    await ward.refused(event)
    await ward.refused(event, "rules")
    for offset in range(1, 30):
        await ward.unreadable(offset)
    mine, theirs = OPEN, replace(OPEN, projections=["rules", "*"])
    done = await asyncio.gather(
        *(retry(ward.pool, chosen, ME) for chosen in (mine, theirs, theirs, mine))
    )
    assert sum(one.records for one in done) == 30
    assert sum(one.letters for one in done) == 31
    assert len({row["identity"] for row in await ward.owed()}) == 30
    assert len(await ward.owed()) == 30


async def test_a_record_that_several_refused_goes_into_the_log_once(ward: Ward) -> None:
    event = at_offset(event_of(posted("666")), 9)
    for projection in ("rules", "net_worth", "analytics"):
        await ward.refused(event, projection)
    done = await retry(ward.pool, replace(OPEN, projections=["rules"]), ME)
    assert done == Amount(letters=3, records=1)
    assert len(await ward.owed()) == 1
    assert set((await ward.states()).values()) == {"retried"}


async def test_a_limit_takes_the_first_ones(ward: Ward) -> None:
    for offset in range(6):
        await ward.unreadable(offset)
    assert await retry(ward.pool, OPEN, ME, limit=2) == Amount(2, 2)
    assert await discard(ward.pool, OPEN, ME, limit=1) == Amount(1, 1)
    found = await ward.states()
    assert [found["*", offset] for offset in range(6)] == [
        *("retried", "retried", "discarded"),
        *("open", "open", "open"),
    ]


async def test_more_than_one_transaction_takes_are_all_retried(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.postgres.dead_letters.DECIDED_MAX", 4)
    for offset in range(11):
        await ward.unreadable(offset)
    assert await retry(ward.pool, OPEN, ME) == Amount(11, 11)
    assert [row["identity"].rpartition("|")[2] for row in await ward.owed()] == [
        str(offset) for offset in range(11)
    ]


async def test_a_retried_event_is_still_waited_for_and_a_discarded_one_is_not(ward: Ward) -> None:
    one, other = (at_offset(event_of(posted("666")), offset) for offset in (1, 2))
    flushes = PostgresFlushLog(ward.pool)
    for projection in ("totals", "analytics"):
        await ward.refused(one, projection)
        await ward.refused(other, projection)
    await retry(ward.pool, Chosen(positions=[one.position]), ME)
    await discard(ward.pool, Chosen(positions=[other.position]), ME)
    keys = [one.key, other.key]
    assert await ward.store.refused("totals", keys) == {one.key}
    assert await flushes.refused("analytics", keys) == {one.key}
    await ward.applied(at_offset(one, 9))
    assert await ward.store.refused("totals", keys) == set()
    assert await flushes.refused("analytics", keys) == {one.key}
    found = await ward.states()
    assert found["totals", 1] == "resolved" and found["analytics", 1] == "retried"
    assert found["totals", 2] == found["analytics", 2] == "discarded"
    kept = await find(ward.pool, Chosen(states=["discarded"]), 10)
    assert {(each.decided_by, each.decided_why) for each in kept} == {("ops", "mended")}
    assert all(each.value == other.raw and each.decided_at for each in kept)


async def test_a_retry_that_is_refused_again_is_one_open_letter_at_its_new_place(
    ward: Ward,
) -> None:
    event = at_offset(event_of(posted("666")), 1)
    await ward.refused(event)
    await retry(ward.pool, OPEN, ME)
    (owed,) = await ward.owed()
    headers = list(zip(owed["header_names"], owed["header_values"], strict=True))
    await ward.refused(at_offset(event, 8), headers=headers)
    assert await ward.states() == {("totals", 1): "superseded", ("totals", 8): "open"}
    assert await ward.store.refused("totals", [event.key]) == {event.key}
    await retry(ward.pool, OPEN, ME)
    again = (await ward.owed())[1]
    assert again["header_names"] == ["dl-retry"], "the first retry's header is not carried on"
    assert again["header_values"] == [b"totals|bfc.ledger|3|8"]
    await discard(ward.pool, Chosen(), ME)
    assert await ward.store.refused("totals", [event.key]) == {event.key}


async def test_what_nobody_could_read_is_resolved_when_it_is_read(ward: Ward) -> None:
    record = record_of(posted("1", user="usr_17"))
    wrong = record._replace(partition=(record.partition + 1) % 6, headers=[])
    intake = Intake(ward.index, dict.fromkeys(TOPICS, 6), "bfc")
    await intake.read([Fetched(Partition(*wrong[:2]), 0, 1, [wrong])])
    await retry(ward.pool, OPEN, ME)
    (owed,) = await ward.owed()
    headers = list(zip(owed["header_names"], owed["header_values"], strict=True))
    right = record._replace(offset=5, headers=headers)
    (batch,) = await intake.read([Fetched(Partition(*right[:2]), 5, 6, [right])])
    assert [event.id for event in batch.events] and not batch.duplicates
    assert await ward.states() == {("*", 0): "resolved"}


async def test_a_record_that_its_topic_would_not_take_is_not_retried(ward: Ward) -> None:
    await ward.unreadable(0)
    await ward.unreadable(1, value=b"x" * RETRY_BYTES_MAX)
    with pytest.raises(TooLarge, match=r"bfc\.ledger:3:1 has \d+ bytes"):
        await retry(ward.pool, OPEN, ME)
    assert await ward.owed() == [], "all or nothing"
    assert set((await ward.states()).values()) == {"open"}


async def test_an_event_of_a_log_that_was_given_up_has_no_record_to_retry(ward: Ward) -> None:
    """`streams log accept` lists what was not applied by its key alone, below offset zero."""
    async with acquire(ward.pool) as connection:
        await connection.execute(
            'insert into dead_letters (projection, topic, partition, "offset", reason, event_key,'
            " header_names, header_values) values ('rules', 'bfc.ledger', 3, -7, 'gone', $1,"
            " '{}', '{}')",
            event_of(posted("1")).key,
        )
    place = Position(*PLACE, -7)
    assert await count(ward.pool, Chosen(positions=[place], kept=False)) == Amount(1, 1)
    assert await retry(ward.pool, OPEN, ME) == Amount(0, 0)
    assert await ward.owed() == []
    assert await discard(ward.pool, Chosen(positions=[place]), ME) == Amount(1, 1)
    assert dead_letters.place_of("rules|bfc.ledger|3|-7") == ("rules", place)
    assert dead_letters.place_of("rules|bfc.ledger|-3|7") is None


async def test_reasons_and_headers_of_any_kind_are_kept(ward: Ward) -> None:
    record = RawRecord(*PLACE, 0, b"k", b"v", [("na\0me", None), ("b", b"\0\xff")], 0)
    reason = "data.a\0\ud800: " + "long " * 10_000
    await judged(ward.index, [], [DeadLetter("*", Position(*PLACE, 0), reason, record)])
    (kept,) = await find(ward.pool, Chosen(), 10)
    assert kept.reason.startswith("data.a\\u0000\\ud800: long")
    assert len(kept.reason.encode()) <= dead_letters.REASON_BYTES_MAX
    assert list(kept.headers) == [("na\\u0000me", None), ("b", b"\0\xff")]
    (owed,) = await ward.owed("dead-letters")
    assert owed["header_values"][:2] == [None, b"\0\xff"]


class Strict(Totals):
    """Refuses until it is told otherwise."""

    refuses = True

    def fold(self, rows: Rows, event: Event) -> None:
        super().fold(rows, event)
        if self.refuses:
            rows.refuse("data.amount", "not yet")


@pytest.mark.parametrize("cuts", [(1, 2, 3, 4), (2, 4), (1, 4), (4,)], ids=str)
async def test_a_refused_event_that_comes_again_is_applied_once_however_batches_are_cut(
    cuts: tuple[int, ...],
) -> None:
    """Several batches of one commit judge as if each had a commit of its own."""
    event = event_of(posted("5"))
    repeated = [at_offset(event, offset) for offset in range(1, 5)]
    projection, store, index = Strict(), MemoryStore(), MemoryIndex()
    projector = Projector(projection, store)
    await projector.take([PLACE])
    await judged(index, [at_offset(event, 0)])
    await projector.apply([Batch(*PLACE, 0, 1, [at_offset(event, 0)])])
    assert len(store.dead_letters) == 1
    projection.refuses = False
    batches, start = [], 1
    for cut in cuts:
        mine = [each for each in repeated if start <= each.position.offset <= cut]
        duplicates = frozenset(each.position.offset for each in mine)
        batches.append(Batch(*PLACE, start, cut + 1, mine, duplicates))
        start = cut + 1
    outcome = await projector.apply(batches)
    assert outcome.fates[Fate.APPLIED] == 1
    assert outcome.fates[Fate.DUPLICATE] == 3
    (row,) = store.table(TOTALS)
    assert (row.total, row.entries) == (5, 1)

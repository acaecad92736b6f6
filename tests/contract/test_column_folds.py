"""A fold by columns gives the rows that it gives event by event, in memory and in PostgreSQL."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from projections import intake as intakes
from projections.batch import Batch, Partition
from projections.intake import Fetched, Intake
from projections.memory import MemoryIndex, MemoryStore
from projections.postgres.index import PostgresIndex
from projections.postgres.pool import Pool, acquire
from projections.postgres.store import PostgresStore
from projections.projection import columnar_topics
from projections.projector import Fate, Outcome, Projector
from projections.store import Index, Store
from schemas.codec import RawRecord
from schemas.topics import TOPICS
from tests import benchmarks
from tests.benchmarks.peer.projection import ACCOUNTS, TOTALS, TRANSACTIONS, Peer
from tests.builders import at, posted, records_of

TABLES = (ACCOUNTS, TOTALS, TRANSACTIONS)
PARTITIONS = {"bfc.ledger": 1}
PLACE = Partition("bfc.ledger", 0)
#: The peer job's tables, that keep amounts as they are.
SCHEMA = Path(benchmarks.__path__[0], "peer", "ours.sql").read_text().replace("(18, 2)", "")


@pytest.fixture
async def pool(pool: Pool) -> Pool:
    async with acquire(pool) as connection:
        await connection.execute(SCHEMA)
    return pool


def postings(seed: int, count: int = 400) -> list[RawRecord]:
    """Of a few people, so that they meet in accounts and months; amounts with up to 18 decimals."""
    rng = random.Random(seed)
    drafts = [
        posted(
            f"{rng.randrange(1, 10 ** rng.randrange(1, 12))}.{rng.randrange(1, 10**4)}",
            rng.choice(("credit", "debit")),
            user=f"usr_{rng.randrange(5)}",
            account=f"acc_{rng.randrange(3)}",
            time=at(days=rng.randrange(0, 100)),
            balanceAfter=f"{rng.randrange(-(10**6), 10**6)}.{rng.randrange(100):02d}",
            category=rng.choice(("rent", "groceries", 'a "quoted", one')),
            merchant=rng.choice(("Nord, Markt", "a;b", "NULL")),
        )
        for _ in range(count)
    ]
    return records_of(drafts, partitions=1)


def with_quotes(records: Sequence[RawRecord]) -> bool:
    return any(b'\\"' in (record.value or b"") for record in records)


async def applied(
    store: Store, index: Index, records: Sequence[RawRecord], columnar: bool
) -> tuple[list[Batch], Outcome]:
    """What one projector makes of the records, in batches of a hundred."""
    peer = Peer()
    projector = Projector(peer, store)
    await projector.take([PLACE])
    intake = Intake(index, PARTITIONS, "bfc", columnar=columnar_topics([peer]) if columnar else ())
    batches, outcome = [], Outcome()
    for start in range(0, len(records), 100):
        part = records[start : start + 100]
        end = part[-1].offset + 1
        batches += await intake.read([Fetched(PLACE, part[0].offset, end, part)])
        outcome.add(await projector.apply(batches[-1:]))
    return batches, outcome


async def by_events(records: Sequence[RawRecord]) -> dict[str, list[Any]]:
    store = MemoryStore()
    await applied(store, MemoryIndex(), records, columnar=False)
    return {table.name: store.table(table) for table in TABLES}


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intakes, "COLUMNS_MIN", 1)


@pytest.mark.parametrize("seed", range(5))
async def test_columns_give_the_same_rows(seed: int) -> None:
    records = [one for one in postings(seed) if not with_quotes([one])]
    records = [record._replace(offset=number) for number, record in enumerate(records)]
    store = MemoryStore()
    batches, outcome = await applied(store, MemoryIndex(), records, columnar=True)
    assert all(batch.columns is not None for batch in batches)
    assert {table.name: store.table(table) for table in TABLES} == await by_events(records)
    assert outcome.fates[Fate.APPLIED] == len(records)


async def test_slices_with_a_repetition_or_a_bad_record_are_folded_one_by_one() -> None:
    records = [one for one in postings(7, 600) if not with_quotes([one])][:300]
    again = records[3]._replace(value=records[3].value)
    records = [*records[:150], again, records[150]._replace(value=b"{"), *records[151:]]
    records = [record._replace(offset=number) for number, record in enumerate(records)]
    store = MemoryStore()
    batches, outcome = await applied(store, MemoryIndex(), records, columnar=True)
    assert [batch.columns is None for batch in batches] == [False, True, False, False]
    assert outcome.fates[Fate.DUPLICATE] == 1
    assert {table.name: store.table(table) for table in TABLES} == await by_events(records)


async def test_an_event_that_no_column_fold_can_apply_becomes_a_dead_letter() -> None:
    records = [one for one in postings(8) if not with_quotes([one])][:100]
    without = posted("5.00", user="usr_1", account="acc_1", balanceAfter="1.00", category="rent")
    records[40] = records_of([without], partitions=1)[0]
    records = [record._replace(offset=number) for number, record in enumerate(records)]
    store = MemoryStore()
    batches, outcome = await applied(store, MemoryIndex(), records, columnar=True)
    assert batches[0].columns is not None
    assert [letter.position.offset for letter in outcome.dead_letters] == [40]
    assert outcome.fates[Fate.APPLIED] == 99


async def test_sums_that_arrow_could_not_hold_are_exact() -> None:
    most = "9" * 20 + "." + "9" * 18
    drafts = [
        posted(most, user="usr_1", account="a", balanceAfter="1", category="rent", merchant="Nord")
        for _ in range(20)
    ]
    records = records_of(drafts, partitions=1)
    store = MemoryStore()
    batches, _ = await applied(store, MemoryIndex(), records, columnar=True)
    assert batches[0].columns is not None
    (total,) = store.table(TOTALS)
    assert str(total.total) == "1999999999999999999999.999999999999999980"


@pytest.mark.parametrize("columnar", [False, True])
async def test_postgres_keeps_the_same_rows_either_way(pool: Pool, columnar: bool) -> None:
    records = postings(11)
    records = [one for one in records if columnar is False or not with_quotes([one])]
    records = [record._replace(offset=number) for number, record in enumerate(records)]
    index = await PostgresIndex.open(pool, list(TOPICS))
    batches, _ = await applied(PostgresStore(pool), index, records, columnar)
    assert all((batch.columns is not None) is columnar for batch in batches)
    wanted = await by_events(records)
    for table in TABLES:
        order = ", ".join(f'"{name}"' for name in table.key)
        kept = [
            table.row(**dict(row))
            for row in await pool.fetch(f"select * from {table.name} order by {order}")
        ]
        assert kept == wanted[table.name]

"""A fold that derives an event that is not valid loses that one cause, on every backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from projections.batch import Batch, Partition
from projections.memory import MemoryStore
from projections.postgres.migrate import migrate
from projections.postgres.pool import acquire, open_pool
from projections.postgres.store import PostgresStore
from projections.projector import Fate, Projector
from projections.rows import Rows
from schemas.envelope import Draft, Event
from tests import totals
from tests.builders import events_of, posted
from tests.totals import Totals


class Careless(Totals):
    """Derives a trigger without a rule from a posting of 13."""

    def fold(self, rows: Rows, event: Event) -> None:
        super().fold(rows, event)
        if event.data.amount == 13:
            rows.emit(
                Draft(
                    type="rule.triggered.v1",
                    source="/tests",
                    data={"rule": ""},
                    time=event.time,
                    user_id=event.user_id,
                )
            )


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with open_pool(database) as pool:
        await migrate(pool)
        async with acquire(pool) as connection:
            await connection.execute(totals.DDL)
        yield PostgresStore(pool)


async def test_the_others_of_the_batch_are_applied(store: Any) -> None:
    events = events_of([posted("5"), posted("13"), posted("7")])
    topic, partition, start = events[0].position
    projector = Projector(Careless(), store)
    await projector.take([Partition(topic, partition)])
    outcome = await projector.apply([Batch(topic, partition, start, start + 3, events)])
    assert outcome.fates[Fate.APPLIED] == 2
    (letter,) = outcome.dead_letters
    assert letter.position == events[1].position
    assert "not valid" in letter.reason
    after = await store.checkpoint("totals", Partition(topic, partition))
    assert after.next_offset == start + 3

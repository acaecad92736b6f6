"""Stock faust-streaming with `take`: many events at a time, one transaction for them."""

from __future__ import annotations

import asyncpg
import faust

from tests.benchmarks.peer.contestants.batch import Batch
from tests.benchmarks.peer.contestants.faust_records import Posted, app_of, row_of
from tests.benchmarks.peer.contestants.given import given, mark_first
from tests.benchmarks.peer.contestants.writing_async import locked, write

#: As its users set it: so many, or what came within so many seconds.
TAKE_EVENTS_MAX = 1_000
TAKE_SECONDS_MAX = 0.1

task = given()
app, postings = app_of(task)


@app.agent(postings)
async def project(stream: faust.Stream[Posted]) -> None:
    """Write what was taken, without what is written already."""
    connection = await asyncpg.connect(task.postgres)
    async for events in stream.take_events(TAKE_EVENTS_MAX, within=TAKE_SECONDS_MAX):
        mark_first()
        batch = Batch()
        async with connection.transaction():
            partitions = {event.message.partition for event in events}
            done = await locked(connection, task.topic, partitions)
            for event in events:
                place = event.message
                if place.offset >= done[place.partition]:
                    batch.add(place.partition, place.offset, row_of(event.value))
            await write(connection, task.topic, batch)


if __name__ == "__main__":
    app.main()

"""A bare consumer beside which freshness is measured: aiokafka, and each fetched batch committed to
PostgreSQL in one transaction, positions included.

It notes when the events whose ids begin with `probe-` were committed.

    python -m tests.benchmarks.bare_commit KAFKA POSTGRES READY_FILE OUT_FILE
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiokafka
import asyncpg
import orjson

from schemas.topics import source_topics

#: As the contestants of the peer job fetch.
FETCH_WAIT_MS = 10
POLL_MS = 1_000

PROBE = "probe-"

TABLES = """
create table if not exists bare_events
    (id text not null, user_id text, type text, time text, data text);
create table if not exists bare_positions
    (topic text, partition integer, next_offset bigint, primary key (topic, partition));
"""
APPEND = """
insert into bare_events
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
"""
MOVE = """
insert into bare_positions select * from unnest($1::text[], $2::integer[], $3::bigint[])
on conflict (topic, partition) do update set next_offset = excluded.next_offset
"""


async def consume(kafka: str, postgres: str, ready: Callable[[], None]) -> dict[str, float]:
    """Consume until SIGTERM; returns when each probe was committed."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    seen: dict[str, float] = {}
    connection = await asyncpg.connect(postgres)
    await connection.execute(TABLES)
    consumer = aiokafka.AIOKafkaConsumer(
        *(topic.name for topic in source_topics()),
        bootstrap_servers=kafka,
        group_id=f"bare-{time.time_ns()}",
        enable_auto_commit=False,
        auto_offset_reset="latest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        session_timeout_ms=6_000,
    )
    await consumer.start()
    try:
        while not consumer.assignment():
            await consumer.getmany(timeout_ms=10)
        await consumer.seek_to_end()
        ready()
        stopped = asyncio.create_task(stop.wait())
        while not stopped.done():
            batches = await consumer.getmany(timeout_ms=POLL_MS)
            if batches:
                events = await _commit(connection, batches)
                now = time.time()
                seen.update((id, now) for id in events if id.startswith(PROBE))
    finally:
        await consumer.stop()
        await connection.close()
    return seen


def main(kafka: str, postgres: str, ready_file: str, out_file: str) -> None:
    """Consume, and write what was seen."""
    seen = asyncio.run(consume(kafka, postgres, Path(ready_file).touch))
    Path(out_file).write_text(json.dumps(seen))


async def _commit(connection: Any, batches: Any) -> list[str]:
    events = [orjson.loads(record.value) for records in batches.values() for record in records]
    ids = [event["id"] for event in events]
    moves = [(tp.topic, tp.partition, records[-1].offset + 1) for tp, records in batches.items()]
    async with connection.transaction():
        await connection.execute(
            APPEND,
            ids,
            [event.get("userid") for event in events],
            [event["type"] for event in events],
            [event["time"] for event in events],
            [orjson.dumps(event["data"]).decode() for event in events],
        )
        await connection.execute(MOVE, *map(list, zip(*moves, strict=True)))
    return ids


if __name__ == "__main__":
    main(*sys.argv[1:])

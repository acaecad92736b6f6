"""A world for the append store: in memory or on servers; its store fails when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from projections.analytics.append import AppendTable, Values
from projections.analytics.appender import Analytics
from projections.analytics.memory import MemoryAppendStore, MemoryFlushLog
from projections.analytics.tables import TABLES
from projections.batch import Partition
from projections.clickhouse.store import ClickHouseStore
from projections.postgres.flushes import PostgresFlushLog
from projections.postgres.pool import acquire
from schemas.envelope import Draft
from tests.builders import at, posted, step, tick
from tests.log import Log


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Frail:
    """A store that does what it is told to when a table's insert comes by."""

    store: Any
    before: dict[str, list[BaseException]] = field(default_factory=dict)
    after: dict[str, list[BaseException]] = field(default_factory=dict)
    sent: list[tuple[str, str]] = field(default_factory=list)
    encoded: dict[str, tuple[bytes, list[Values]]] = field(default_factory=dict)

    def encode(self, table: AppendTable, rows: Sequence[Values]) -> bytes:
        block: bytes = self.store.encode(table, rows)
        self.encoded[table.name] = block, list(rows)
        return block

    async def send(self, table: AppendTable, block: bytes, token: str) -> None:
        _raise_next(self.before, table)
        await self.store.send(table, block, token)
        self.sent.append((table.name, token))
        _raise_next(self.after, table)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def _raise_next(planned: dict[str, list[BaseException]], table: AppendTable) -> None:
    if errors := planned.get(table.name):
        raise errors.pop(0)


@dataclass
class World:
    store: Frail
    log: Any
    rows: Callable[[AppendTable], Awaitable[list[Any]]]
    letters: Callable[[], Awaitable[list[tuple[str, int]]]]
    offsets: Callable[[], Awaitable[dict[Partition, int]]]
    backup: Callable[[], Awaitable[Any]]
    restore: Callable[[Any], Awaitable[None]]

    def worker(self, kafka: Log) -> Analytics:
        async def at_once(seconds: float) -> None:
            await asyncio.sleep(0)

        return Analytics(self.store, self.log, kafka.reread, sleep=at_once)


def in_memory() -> World:
    store, log = MemoryAppendStore(), MemoryFlushLog()

    async def rows(table: AppendTable) -> list[Any]:
        return [tuple(table.place(row)) for row in store.rows(table)]

    async def letters() -> list[tuple[str, int]]:
        return sorted((each.position.topic, each.position.offset) for each in log.letters)

    async def offsets() -> dict[Partition, int]:
        return {place: stand.next_offset for place, stand in log.stands.items()}

    async def backup() -> MemoryFlushLog:
        return deepcopy(log)

    async def restore(kept: MemoryFlushLog) -> None:
        log.__dict__.update(deepcopy(kept).__dict__)

    return World(Frail(store), log, rows, letters, offsets, backup, restore)


def on_servers(pool: Any, client: Any) -> World:
    async def rows(table: AppendTable) -> list[Any]:
        sql = f"select topic, partition, offset from {table.name} order by all"
        return [tuple(row) for row in (await client.query(sql)).result_rows]

    async def letters() -> list[tuple[str, int]]:
        sql = "select topic, \"offset\" from dead_letters where state = 'open' order by 1, 2"
        async with acquire(pool) as connection:
            return [tuple(row) for row in await connection.fetch(sql)]

    async def offsets() -> dict[Partition, int]:
        async with acquire(pool) as connection:
            found = await connection.fetch("select topic, partition, next_offset from checkpoints")
        return {Partition(row[0], row[1]): row[2] for row in found}

    async def backup() -> dict[str, list[Any]]:
        async with acquire(pool) as connection:
            return {name: await connection.fetch(f"select * from {name}") for name in _KEPT}

    async def restore(kept: dict[str, list[Any]]) -> None:
        async with acquire(pool) as connection, connection.transaction():
            for name, found in kept.items():
                await connection.execute(f"delete from {name}")
                await connection.copy_records_to_table(name, records=map(tuple, found))

    store = Frail(ClickHouseStore(client))
    log = PostgresFlushLog(pool)
    return World(store, log, rows, letters, offsets, backup, restore)


#: What speaks of flushes.
_KEPT = ("checkpoints", "clickhouse_flushes", "dead_letters")


def history(months: int = 3, people: int = 4) -> list[Draft]:
    """Events of several people over several months, some of them sent twice."""
    drafts: list[Draft] = []
    for month in range(months):
        for person in range(people):
            when = at(days=-30 * month, seconds=person)
            user = f"usr_{person}"
            drafts.append(posted("12.34", user=user, time=when))
            drafts.append(step("signup", session=f"s{person}", user=user, time=when))
            drafts.append(tick(time=when))
    return [*drafts, *drafts[::5]]


def expected(kafka: Log) -> dict[str, list[tuple[str, int, int]]]:
    """Positions of each table's rows, from the log."""
    seen = set()
    tables: dict[str, list[tuple[str, int, int]]] = {
        table.name: [] for table in TABLES if not table.merges
    }
    types = {
        "bfc.transaction.posted": ["transactions", "journey_steps"],
        "journey.step.recorded": ["journey_steps"],
        "market.price.ticked": ["prices"],
    }
    for event in kafka.events():
        tables["events"].append(tuple(event.position))
        if event.key not in seen:
            for name in types[event.type]:
                tables[name].append(tuple(event.position))
        seen.add(event.key)
    return {name: sorted(places) for name, places in tables.items()}


async def run(worker: Analytics, kafka: Log, size: int = 3) -> None:
    """What a worker does from taking all partitions to an orderly end."""
    starts = await worker.take(kafka.places())
    for place, start in starts.items():
        end = len(kafka.records[place])
        for first in range(start, end, size):
            await worker.append(kafka.batch(place, first, min(first + size, end)))
    await worker.close()


async def check(world: World, kafka: Log) -> None:
    wanted = expected(kafka)
    for table in TABLES:
        if not table.merges:
            assert sorted(await world.rows(table)) == wanted[table.name], table.name
    ends = {place: len(records) for place, records in kafka.records.items()}
    assert await world.offsets() == ends

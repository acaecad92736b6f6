"""The ports of one process: every call is a request that may be lost, late or answered in vain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar
from uuid import UUID

from projections.analytics.append import AppendTable, Flush, Repair, Taken, Values
from projections.batch import Batch, Checkpoint, DeadLetter, Keyed, Move, Partition
from projections.intake import Fetched, Intake
from projections.memory import MemoryIndex
from projections.outbox import Name, Owed
from projections.store import Commit, Unavailable
from projections.tables import Row, Want
from schemas.position import Position
from tests.simulation.clock import at_once
from tests.simulation.log import Log
from tests.simulation.servers import ClickHouse, Lead, Postgres
from tests.simulation.world import World, life_of_caller

POSTGRES, CLICKHOUSE, KAFKA = "postgres", "clickhouse", "kafka"

#: Virtual seconds between two looks at a lock or at a checkpoint.
LOOK_SECONDS = 0.05


Owner = TypeVar("Owner")


@dataclass
class Taking(Generic[Owner]):
    """Two requests: a look at the epochs, then a compare and set; as in PostgreSQL."""

    world: World
    projection: str
    epoch: Callable[[Partition], int]
    take: Callable[[str, Sequence[Partition]], Coroutine[Any, Any, Mapping[Partition, Owner]]]

    async def __call__(self, places: Sequence[Partition]) -> Mapping[Partition, Owner]:
        taken: dict[Partition, Owner] = {}
        while missing := [place for place in places if place not in taken]:
            look = partial(self._look, missing)
            seen = await self.world.call(POSTGRES, f"epochs of {self.projection}", look)
            compare_and_set = partial(self._compare_and_set, seen)
            what = f"take {self.projection}"
            taken |= await self.world.call(POSTGRES, what, compare_and_set)
        return taken

    def _look(self, places: Sequence[Partition]) -> dict[Partition, int]:
        return {place: self.epoch(place) for place in places}

    def _compare_and_set(self, seen: Mapping[Partition, int]) -> Mapping[Partition, Owner]:
        own = [place for place, epoch in seen.items() if self._is_still(place, epoch)]
        return at_once(self.take(self.projection, own))

    def _is_still(self, place: Partition, epoch: int) -> bool:
        return self.epoch(place) == epoch


class StorePort:
    """``Store`` over a connection that may break."""

    def __init__(self, world: World, postgres: Postgres) -> None:
        self._world, self._postgres = world, postgres

    async def take(
        self, projection: str, places: Sequence[Partition]
    ) -> Mapping[Partition, Checkpoint]:
        store = self._postgres.store

        def epoch(place: Partition) -> int:
            return at_once(store.checkpoint(projection, place)).epoch

        return await Taking(self._world, projection, epoch, store.take)(places)

    async def regain(
        self, projection: str, held: Mapping[Partition, Checkpoint]
    ) -> Mapping[Partition, Checkpoint]:
        store = self._postgres.store
        return await self._world.call(
            POSTGRES, f"regain {projection}", lambda: at_once(store.regain(projection, held))
        )

    async def version(self, projection: str, version: int) -> int:
        store = self._postgres.store
        return await self._world.call(
            POSTGRES, f"version {projection}", lambda: at_once(store.version(projection, version))
        )

    async def checkpoint(self, projection: str, place: Partition) -> Checkpoint:
        store = self._postgres.store
        return await self._world.call(
            POSTGRES,
            f"checkpoint {projection}",
            lambda: at_once(store.checkpoint(projection, place)),
        )

    async def load(self, wants: Sequence[Want]) -> Mapping[Want, Sequence[Row]]:
        store = self._postgres.store
        return await self._world.call(POSTGRES, "load", lambda: at_once(store.load(wants)))

    async def refused(self, projection: str, keys: Sequence[UUID]) -> set[UUID]:
        store = self._postgres.store
        return await self._world.call(
            POSTGRES, f"refused {projection}", lambda: at_once(store.refused(projection, keys))
        )

    async def commit(self, commit: Commit) -> None:
        what = f"commit {commit.projection} {_ranges(commit.moves)}"
        await self._world.call(POSTGRES, what, lambda: self._postgres.commit(commit))


class IndexPort:
    """``Index`` over a connection that may break."""

    def __init__(self, world: World, index: MemoryIndex) -> None:
        self._world, self._index = world, index

    async def judge(
        self, parts: Sequence[Keyed], unreadable: Sequence[DeadLetter], *further: Any
    ) -> list[frozenset[int]]:
        return await self._world.call(
            POSTGRES, "judge", lambda: at_once(self._index.judge(parts, unreadable, *further))
        )


class FlushPort:
    """``FlushLog`` over connections that may break; a held flush is a row lock."""

    def __init__(self, world: World, postgres: Postgres) -> None:
        self._world, self._postgres = world, postgres

    async def take(self, projection: str, places: Sequence[Partition]) -> Mapping[Partition, Taken]:
        flushes = self._postgres.flushes
        return await Taking(self._world, projection, flushes.epoch, flushes.take)(places)

    async def regain(
        self, projection: str, held: Mapping[Partition, Checkpoint]
    ) -> Mapping[Partition, Checkpoint]:
        flushes = self._postgres.flushes
        return await self._world.call(
            POSTGRES, f"regain {projection}", lambda: at_once(flushes.regain(projection, held))
        )

    async def version(self, projection: str, version: int) -> int:
        flushes = self._postgres.flushes
        return await self._world.call(
            POSTGRES, f"version {projection}", lambda: at_once(flushes.version(projection, version))
        )

    async def refused(self, projection: str, keys: Sequence[UUID]) -> set[UUID]:
        flushes = self._postgres.flushes
        return await self._world.call(
            POSTGRES, f"refused {projection}", lambda: at_once(flushes.refused(projection, keys))
        )

    async def open(self, flush: Flush) -> None:
        what = f"open flush {_ranges(flush.moves)}"
        flushes = self._postgres.flushes
        await self._world.call(POSTGRES, what, lambda: at_once(flushes.open(flush)))

    async def close(
        self, flush: Flush, letters: Sequence[DeadLetter], resolved: Sequence[UUID]
    ) -> None:
        def close() -> bool:
            if flush.id in self._postgres.held:
                return False
            self._postgres.close_flush(flush, letters, resolved)
            return True

        what = f"close flush {_ranges(flush.moves)}"
        while not await self._world.call(POSTGRES, what, close):
            await self._unlocked(flush.id)

    @asynccontextmanager
    async def repairing(self, id: UUID) -> AsyncIterator[Repair | None]:
        held = self._postgres.held
        mine = object()
        connected = True

        def lock() -> bool:
            return connected and held.setdefault(id, mine) is mine

        try:
            while not await self._world.call(POSTGRES, "hold flush", lock):
                await self._unlocked(id)
            if id in self._postgres.flushes.done:
                yield None
            else:
                repair = _Held(self._postgres.flushes.flushes[id])
                yield repair
                await self._world.call(POSTGRES, "end repair", lambda: self._end(repair))
        finally:
            # The end of the connection, whatever ended it, ends the transaction.
            connected = False
            if held.get(id) is mine:
                del held[id]

    def _end(self, repair: _Held) -> None:
        if repair.closing is not None:
            self._postgres.close_flush(repair.flush, *repair.closing)

    async def _unlocked(self, id: UUID) -> None:
        while id in self._postgres.held:
            await self._world.told(LOOK_SECONDS)


@dataclass
class _Held:
    """What it closes takes effect at the end of the transaction."""

    flush: Flush
    closing: tuple[Sequence[DeadLetter], Sequence[UUID]] | None = None

    async def close(self, letters: Sequence[DeadLetter], resolved: Sequence[UUID]) -> None:
        self.closing = letters, resolved


class AppendPort:
    """``AppendStore`` over a connection that may break in the middle of an insert."""

    def __init__(self, world: World, clickhouse: ClickHouse) -> None:
        self._world, self._clickhouse = world, clickhouse

    def encode(self, table: AppendTable, rows: Sequence[Values]) -> bytes:
        return self._clickhouse.encode(table, rows)

    async def send(self, table: AppendTable, block: bytes, token: str) -> None:
        await self._world.call(
            CLICKHOUSE,
            f"insert {table.name}",
            lambda: self._clickhouse.insert(table, block, token),
            torn=lambda: self._clickhouse.insert_part(table, block, token),
        )

    async def count(self, table: AppendTable, moves: Sequence[Move]) -> int:
        store = self._clickhouse.store
        return await self._world.call(
            CLICKHOUSE, f"count {table.name}", lambda: at_once(store.count(table, moves))
        )

    async def present(self, table: AppendTable, moves: Sequence[Move]) -> set[Position]:
        store = self._clickhouse.store
        return await self._world.call(
            CLICKHOUSE, f"ask {table.name}", lambda: at_once(store.present(table, moves))
        )

    async def ahead(
        self, table: AppendTable, offsets: Mapping[Partition, int]
    ) -> Mapping[Partition, int]:
        store = self._clickhouse.store
        return await self._world.call(
            CLICKHOUSE, f"look ahead {table.name}", lambda: at_once(store.ahead(table, offsets))
        )


class Rereading:
    """Reads a range of the log again, through the same intake."""

    def __init__(self, world: World, log: Log, intake: Intake) -> None:
        self._world, self._log, self._intake = world, log, intake

    async def __call__(self, move: Move) -> Sequence[Batch]:
        most = move.end - move.start
        found, _ = await self._world.call(
            KAFKA,
            f"read again {_ranges([move])}",
            lambda: self._log.read(move.place, move.start, most),
        )
        records = [record for record in found if record.offset < move.end]
        return await self._intake.read([Fetched(move.place, move.start, move.end, records)])


class Checkpoints:
    """``Waiting``: a look at the checkpoints now and then."""

    def __init__(self, world: World, postgres: Postgres) -> None:
        self._world, self._postgres = world, postgres

    async def reached(
        self, projection: str, wanted: Mapping[Partition, int], timeout: float | None = None
    ) -> None:
        while any(self._postgres.reached(projection, at) < end for at, end in wanted.items()):
            await self._world.told(LOOK_SECONDS)


@asynccontextmanager
async def leading(world: World, postgres: Postgres) -> AsyncIterator[OutboxPort]:
    """A relay's leadership: it waits for the lock, and loses it with its connection."""
    mine = Lead(life_of_caller())

    def lock() -> bool:
        if postgres.is_led() or mine.over:
            return False
        postgres.lead = mine
        return True

    try:
        while not await world.call(POSTGRES, "lead", lock):
            while postgres.is_led():
                await world.told(LOOK_SECONDS * 10)
        yield OutboxPort(world, postgres, mine)
    finally:
        mine.over = True


class OutboxPort:
    """``Outbox`` over the connection that holds the leadership."""

    def __init__(self, world: World, postgres: Postgres, lead: Lead) -> None:
        self._world, self._postgres, self._lead = world, postgres, lead
        self._outbox = postgres.store.outbox

    async def pending(self, limit: int) -> list[Owed]:
        return await self._call("pending", lambda: at_once(self._outbox.pending(limit)))

    async def settle(self, seqs: Sequence[int], positions: Mapping[Partition, int]) -> None:
        await self._call(
            f"settle {len(seqs)}", lambda: at_once(self._outbox.settle(seqs, positions))
        )

    async def positions(self) -> dict[Partition, int]:
        return await self._call("relay positions", lambda: at_once(self._outbox.positions()))

    async def found(self, names: Collection[Name], positions: Mapping[Partition, int]) -> int:
        return await self._call(
            f"found {len(names)}", lambda: at_once(self._outbox.found(names, positions))
        )

    async def fire_timers(self, now: datetime, limit: int) -> int:
        return await self._call(
            "fire timers", lambda: at_once(self._outbox.fire_timers(now, limit))
        )

    async def next_due(self) -> datetime | None:
        return await self._call("next due", lambda: at_once(self._outbox.next_due()))

    async def woken(self, seconds: float) -> None:
        await self._world.up()
        await self._outbox.woken(min(seconds, self._world.chance.uniform(0.5, 3.0)))

    async def _call(self, what: str, step: Any) -> Any:
        def on_connection() -> Any:
            if self._lead.over:
                raise Unavailable("the connection that leads is gone")
            return step()

        try:
            return await self._world.call(POSTGRES, what, on_connection)
        except Unavailable:
            # One connection for everything: where it breaks, the leadership ends.
            self._lead.over = True
            raise


def _ranges(moves: Sequence[Move]) -> str:
    return " ".join(f"{m.topic}:{m.partition}[{m.start},{m.end})" for m in moves)

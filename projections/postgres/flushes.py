"""Flushes in PostgreSQL, beside the checkpoints that they move."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from projections.analytics.append import Flush, Lost, Taken
from projections.batch import Checkpoint, DeadLetter, Move, Partition
from projections.postgres import handover, queries
from projections.postgres.pool import Connection, Pool, acquire, patient
from projections.postgres.store import announce, write_dead_letters
from schemas.position import Position

_sql = queries.load("projections.postgres", "flushes.sql")

#: How long done flushes are kept for those who look into the past.
KEPT = timedelta(days=2)


class PostgresFlushLog:
    """Records flushes; see ``FlushLog`` for what it promises."""

    #: Whether those who wait for positions hear of moved checkpoints.
    _told = True

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def take(self, projection: str, places: Sequence[Partition]) -> Mapping[Partition, Taken]:
        rows = await handover.take(self._pool, projection, places)
        return {
            place: Taken(row["next_offset"], row["epoch"], row["flush"])
            for place, row in rows.items()
        }

    async def regain(
        self, projection: str, held: Mapping[Partition, Checkpoint]
    ) -> Mapping[Partition, Checkpoint]:
        return await handover.regain(self._pool, projection, held)

    async def version(self, projection: str, version: int) -> int:
        return await handover.version(self._pool, projection, version)

    async def refused(self, projection: str, keys: Sequence[UUID]) -> set[UUID]:
        async with acquire(self._pool) as connection:
            rows = await connection.fetch(_sql["refused"], projection, list(keys))
        return {row["event_key"] for row in rows}

    async def open(self, flush: Flush) -> None:
        async with acquire(self._pool) as connection, connection.transaction():
            fresh = await connection.fetch(
                _sql["record"],
                flush.id,
                flush.projection,
                json.dumps([[m.topic, m.partition, m.start, m.end, m.epoch] for m in flush.moves]),
                json.dumps(dict(flush.rows)),
                flush.letters,
                json.dumps(sorted(flush.let_in)),
            )
            if fresh:
                await _tie(connection, flush)

    async def close(
        self, flush: Flush, letters: Sequence[DeadLetter], resolved: Sequence[UUID]
    ) -> None:
        async with acquire(self._pool) as connection, connection.transaction():
            await _close(connection, flush, letters, resolved, self._told)

    @asynccontextmanager
    async def repairing(self, id: UUID) -> AsyncIterator[_Held | None]:
        async with acquire(self._pool) as connection, connection.transaction():
            await patient(connection)
            row = await connection.fetchrow(_sql["hold"], id)
            yield None if row["state"] == "done" else _Held(connection, _flush(row), self._told)


class NextFlushLog(PostgresFlushLog):
    """The flushes of a rebuild; its pool has the search path of the new tables."""

    _told = False

    async def version(self, projection: str, version: int) -> int:
        return version

    async def regain(
        self, projection: str, held: Mapping[Partition, Checkpoint]
    ) -> Mapping[Partition, Checkpoint]:
        return {}


class _Held:
    """An open flush, held by a row lock until the transaction ends."""

    def __init__(self, connection: Connection, flush: Flush, told: bool) -> None:
        self._connection = connection
        self._told = told
        self.flush = flush

    async def close(self, letters: Sequence[DeadLetter], resolved: Sequence[UUID]) -> None:
        await _close(self._connection, self.flush, letters, resolved, self._told)


async def _tie(connection: Connection, flush: Flush) -> None:
    rows = await connection.fetch(
        _sql["tie"],
        flush.id,
        flush.projection,
        [move.topic for move in flush.moves],
        [move.partition for move in flush.moves],
        [move.start for move in flush.moves],
        [move.epoch for move in flush.moves],
    )
    tied = {Partition(*row) for row in rows}
    lost = frozenset(move.place for move in flush.moves) - tied
    if lost:
        raise Lost(lost)


async def _close(
    connection: Connection,
    flush: Flush,
    letters: Sequence[DeadLetter],
    resolved: Sequence[UUID],
    told: bool,
) -> None:
    if await connection.execute(_sql["done"], flush.id) == "UPDATE 0":
        return
    await connection.execute(
        _sql["untie"],
        flush.id,
        [move.topic for move in flush.moves],
        [move.partition for move in flush.moves],
        [move.end for move in flush.moves],
    )
    await write_dead_letters(connection, letters)
    if resolved:
        await connection.execute(_sql["resolve"], flush.projection, list(resolved))
    await connection.execute(_sql["forget"], KEPT)
    if told:
        await announce(connection, flush.projection, flush.moves)


def _flush(row: Any) -> Flush:
    return Flush(
        id=row["id"],
        projection=row["projection"],
        moves=tuple(Move(*range_) for range_ in json.loads(row["ranges"])),
        rows=json.loads(row["tables"]),
        letters=row["letters"],
        let_in=frozenset(Position(*place) for place in json.loads(row["let_in"])),
    )

"""First positions in PostgreSQL: what tells an event from its repetitions."""

from __future__ import annotations

import io
import struct
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from uuid import UUID

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc

from projections.batch import DeadLetter, Keyed
from projections.postgres import queries, statements
from projections.postgres.pool import Connection, Pool, acquire
from projections.postgres.store import wake_relay, write_dead_letters
from schemas.columns import KEY_BYTES, Keys
from schemas.position import Position

_sql = queries.load("projections.postgres", "index.sql")

#: First positions that are copied at least; fewer are inserted in one statement.
COPIED_MIN = 200

#: PostgreSQL's binary form of rows to copy: a header, for each row the number of its columns and
#: for each column its size in bytes and its value, and an end.
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_ROW = struct.Struct("!hi16sihiiiq")
_END = b"\xff\xff"
#: Where the key and the offset begin in such a row.
_KEY_AT, _OFFSET_AT = 6, 40


#: A row of ``first_positions``: key, number of the topic, partition, offset.
First = tuple[bytes, int, int, int]


class PostgresIndex:
    """First positions in PostgreSQL, and the dead letters that no projection can read."""

    def __init__(self, pool: Pool, topics: Mapping[str, int], *, present_log: bool) -> None:
        self._pool = pool
        self._topics = topics
        self._present_log = present_log
        #: Whether the last events were all new, so that the next ones will be, too.
        self._all_new = not present_log

    @classmethod
    async def open(
        cls, pool: Pool, topics: Sequence[str], *, present_log: bool = False
    ) -> PostgresIndex:
        """Give each topic its number in this database.

        With ``present_log`` only positions in the present log count, as for tables that are made
        from it alone; else also those in logs that were given up for it, whose facts were kept.
        """
        async with acquire(pool) as connection:
            await connection.execute(_sql["number_topics"], list(topics))
            rows = await connection.fetch("select name, no from log_topics")
        return cls(pool, {row["name"]: row["no"] for row in rows}, present_log=present_log)

    async def judge(
        self,
        parts: Sequence[Keyed],
        unreadable: Sequence[DeadLetter],
        read_at_last: Sequence[Position] = (),
    ) -> list[frozenset[int]]:
        if not unreadable and not read_at_last and await self._copied(parts):
            return [frozenset()] * len(parts)
        rows = [row for part in parts for row in self._rows(part)]
        first = {row[0]: row for row in reversed(rows)}
        # Sorted, so that two workers that meet on the same keys wait instead of deadlocking,
        # and so that neighbours in the index are written together.
        ordered = sorted(first.values())
        async with acquire(self._pool) as connection:
            if not unreadable and not read_at_last:
                elsewhere = await self._record(connection, ordered)
            else:
                async with connection.transaction():
                    elsewhere = await self._record(connection, ordered)
                    await _write_letters(connection, unreadable, read_at_last)
        if not elsewhere and len(first) == len(rows):
            return [frozenset()] * len(parts)
        return [
            frozenset(
                row[3] for row in self._rows(part) if row[0] in elsewhere or first[row[0]] != row
            )
            for part in parts
        ]

    async def _copied(self, parts: Sequence[Keyed]) -> bool:
        """Whether all are new and are kept now; tried where they are likely to be."""
        count = sum(len(part.keys) for part in parts)
        if not self._all_new or count < COPIED_MIN:
            return False
        body = _sorted_rows([(self._topics[part.place.topic], part) for part in parts])
        if body is None:
            return False
        async with acquire(self._pool) as connection:
            self._all_new = await _copy(connection, body)
        return self._all_new

    def _rows(self, part: Keyed) -> Iterable[First]:
        topic = self._topics[part.place.topic]
        places = repeat(topic), repeat(part.place.partition)
        return zip(part.keys, *places, part.offsets, strict=False)

    async def _record(self, connection: Connection, rows: Sequence[First]) -> set[bytes]:
        """Keep what is new; the keys of those that stand at another position."""
        if not rows:
            return set()
        arrays = _arrays(rows)
        fresh = await connection.fetch(_sql["record_first_positions"], *arrays)
        self._all_new = len(fresh) == len(rows)
        earlier = {row["key"].bytes: row["earlier"] and not self._present_log for row in fresh}
        elsewhere = {key for key, is_earlier in earlier.items() if is_earlier}
        known = [row for row in rows if row[0] not in earlier]
        if known:
            found = await connection.fetch(
                _sql["stand_elsewhere"], *_arrays(known), not self._present_log
            )
            elsewhere |= {row["key"].bytes for row in found}
        return elsewhere


async def _copy(connection: Connection, body: bytes) -> bool:
    """Keep rows that are all new, at half the cost of a look for conflicts; else keep nothing."""
    if await connection.fetchval(_sql["has_earlier"]):
        return False
    source = io.BytesIO(body)
    try:
        async with connection.transaction():
            await connection.copy_to_table("first_positions", source=source, format="binary")
    except asyncpg.UniqueViolationError:
        return False
    return True


def _sorted_rows(parts: Sequence[tuple[int, Keyed]]) -> bytes | None:
    """What to copy, in the order of the keys; None if one of them is there twice.

    All rows are as long, so each byte of a column is one stride through all of them: no loop in
    Python sees a row.
    """
    rows = pa.concat_arrays([_fixed(_rows_of(no, part), _ROW.size) for no, part in parts])
    keys = pa.concat_arrays([_fixed(_joined(part.keys), KEY_BYTES) for _, part in parts])
    order = pc.array_sort_indices(keys)
    ordered = keys.take(order)
    if pc.any(pc.equal(ordered[1:], ordered[:-1])).as_py():
        return None
    _, data = rows.take(order).buffers()
    return b"".join((_HEADER, memoryview(data)[: len(rows) * _ROW.size], _END))


def _rows_of(topic: int, part: Keyed) -> bytearray:
    blank = _ROW.pack(4, KEY_BYTES, b"", 2, topic, 4, part.place.partition, 8, 0)
    rows = bytearray(blank * len(part.keys))
    offsets = array("q", part.offsets)
    if sys.byteorder == "little":
        offsets.byteswap()
    for at, size, text in (
        (_KEY_AT, KEY_BYTES, _joined(part.keys)),
        (_OFFSET_AT, 8, bytes(offsets)),
    ):
        for byte in range(size):
            rows[at + byte :: _ROW.size] = text[byte::size]
    return rows


def _joined(keys: Sequence[bytes]) -> bytes:
    return keys.joined if isinstance(keys, Keys) else b"".join(keys)


def _fixed(text: bytes | bytearray, size: int) -> pa.Array:
    buffers = [None, pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.binary(size), len(text) // size, buffers)


def _arrays(rows: Sequence[First]) -> list[list[object]]:
    keys, *rest = statements.transposed(rows, 4)
    return [[UUID(bytes=key) for key in keys], *rest]


async def _write_letters(
    connection: Connection, unreadable: Sequence[DeadLetter], read_at_last: Sequence[Position]
) -> None:
    await write_dead_letters(connection, unreadable)
    if unreadable:
        await wake_relay(connection)
    if read_at_last:
        await connection.execute(_sql["resolve_unread"], *statements.transposed(read_at_last, 3))

"""First positions in PostgreSQL: what tells an event from its repetitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc

from projections.batch import DeadLetter, Keyed
from projections.postgres import array_text, arrow, queries, statements
from projections.postgres.pool import Connection, Pool, acquire
from projections.postgres.store import wake_relay, write_dead_letters
from schemas.columns import KEY_BYTES, Keys
from schemas.position import Position

_sql = queries.load("projections.postgres", "index.sql")

#: First positions that are copied at least; fewer are inserted in one statement.
COPIED_MIN = 200

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
        rows = _sorted_rows([(self._topics[part.place.topic], part) for part in parts])
        if rows is None:
            return False
        async with acquire(self._pool) as connection:
            self._all_new = await _copy(connection, rows)
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


async def _copy(connection: Connection, rows: pa.Table) -> bool:
    """Keep rows that are all new, at half the cost of a look for conflicts; else keep nothing."""
    if await connection.fetchval(_sql["has_earlier"]):
        return False
    try:
        # A transaction by itself.
        await arrow.copy(connection, "first_positions", rows)
    except asyncpg.UniqueViolationError:
        return False
    return True


def _sorted_rows(parts: Sequence[tuple[int, Keyed]]) -> pa.Table | None:
    """What to copy, in the order of the keys; None if one of them is there twice."""
    keys = pa.concat_arrays([_fixed(part.keys) for _, part in parts])
    order = pc.array_sort_indices(keys)
    ordered = keys.take(order)
    if pc.any(pc.equal(ordered[1:], ordered[:-1])).as_py():
        return None
    counts = [(len(part.keys), topic, part.place.partition) for topic, part in parts]
    rows = {
        "topic": _each([(count, topic) for count, topic, _ in counts], pa.int16()),
        "partition": _each([(count, number) for count, _, number in counts], pa.int32()),
        "offset": pa.concat_arrays([pa.array(part.offsets, pa.int64()) for _, part in parts]),
    }
    return pa.table({"key": ordered, **{name: each.take(order) for name, each in rows.items()}})


def _each(values: Sequence[tuple[int, int]], kind: pa.DataType) -> pa.Array:
    return pa.concat_arrays([pa.repeat(pa.scalar(value, kind), count) for count, value in values])


def _fixed(keys: Sequence[bytes]) -> pa.Array:
    text = keys.joined if isinstance(keys, Keys) else b"".join(keys)
    buffers = [None, pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.binary(KEY_BYTES), len(keys), buffers)


def _arrays(rows: Sequence[First]) -> list[array_text.ArrayText]:
    keys, *rest = statements.transposed(rows, 4)
    text, digits = b"".join(keys).hex(), 2 * KEY_BYTES
    numbers = [text[at : at + digits] for at in range(0, len(text), digits)]
    return [array_text.of_plain(each) for each in (numbers, *rest)]


async def _write_letters(
    connection: Connection, unreadable: Sequence[DeadLetter], read_at_last: Sequence[Position]
) -> None:
    await write_dead_letters(connection, unreadable)
    if unreadable:
        await wake_relay(connection)
    if read_at_last:
        await connection.execute(_sql["resolve_unread"], *statements.transposed(read_at_last, 3))

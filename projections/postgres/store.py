"""The PostgreSQL store: rows, outbox, timers, dead letters and checkpoint in one transaction."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import pyarrow as pa

from projections import columnar, dead_letters
from projections.batch import Checkpoint, DeadLetter, Move, Partition
from projections.postgres import array_text, arrow, handover, queries, statements
from projections.postgres.group import GroupCommit, merged
from projections.postgres.pool import Connection, Pool, acquire
from projections.postgres.statements import Statement
from projections.rows import Changes
from projections.store import Commit, Fenced, encoded
from projections.tables import Key, Row, Table, Want
from schemas.codec import Encoded
from schemas.envelope import CONTENT_TYPE, Draft

_sql = queries.load("projections.postgres", "store.sql")

#: The NOTIFY channels of moved checkpoints and of what is owed to the log; and how many moves one
#: message may hold: PostgreSQL takes payloads below 8000 bytes.
PROGRESS_CHANNEL = "progress"
#: What is said there when checkpoints were set anew, perhaps back: read them all.
ANEW = "anew"
OUTBOX_CHANNEL = "outbox"
NOTICE_MOVES_MAX = 100


class PostgresStore:
    """The write side of row projections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._group = GroupCommit(self._commit)
        self._habits = Habits()

    async def take(
        self, projection: str, places: Sequence[Partition]
    ) -> Mapping[Partition, Checkpoint]:
        rows = await handover.take(self._pool, projection, places)
        return {place: Checkpoint(row["next_offset"], row["epoch"]) for place, row in rows.items()}

    async def regain(
        self, projection: str, held: Mapping[Partition, Checkpoint]
    ) -> Mapping[Partition, Checkpoint]:
        return await handover.regain(self._pool, projection, held)

    async def version(self, projection: str, version: int) -> int:
        return await handover.version(self._pool, projection, version)

    async def checkpoint(self, projection: str, place: Partition) -> Checkpoint:
        async with acquire(self._pool) as connection:
            row = await connection.fetchrow(_sql["checkpoint"], projection, *place)
        return Checkpoint(row["next_offset"], row["epoch"]) if row else Checkpoint(0, 0)

    async def load(self, wants: Sequence[Want]) -> Mapping[Want, Sequence[Row]]:
        loaded: dict[Want, list[Row]] = {want: [] for want in wants}
        groups: dict[tuple[Table[Any], int, bool, bool], list[Want]] = defaultdict(list)
        for want in wants:
            bounds = want.low is not None, want.high is not None
            groups[want.table, len(want.prefix), *bounds].append(want)
        async with acquire(self._pool) as connection:
            for (table, depth, has_low, has_high), group in groups.items():
                arrays = statements.arrays_of_wants(table, depth, group, has_low, has_high)
                sql = statements.load_sql(table, depth, has_low, has_high)
                records = await connection.fetch(sql, *arrays)
                _distribute(table, depth, group, records, loaded)
        return loaded

    async def refused(self, projection: str, keys: Sequence[UUID]) -> set[UUID]:
        async with acquire(self._pool) as connection:
            rows = await connection.fetch(_sql["refused"], projection, list(keys))
        return {row["event_key"] for row in rows}

    async def commit(self, commit: Commit) -> None:
        await self._group.commit(commit)

    async def _commit(self, commits: Sequence[Commit]) -> None:
        async with acquire(self._pool) as connection, connection.transaction():
            await write(connection, commits, self._habits, telling=True)


class Habits:
    """The statements that each projection has needed so far.

    A commit carries out all of them, some on no rows: so there is one combination of them for a
    projection, and the server plans it once. It locks no more than that projection's tables.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, list[Any]]] = defaultdict(dict)

    def whole(self, projection: str, needed: Sequence[Statement]) -> list[Statement]:
        """These and those that it needed before."""
        known, given = self._known[projection], dict(needed)
        for sql, values in needed:
            if sql not in known:
                known[sql] = list(map(array_text.nothing, values))
        return [(sql, given.get(sql, nothing)) for sql, nothing in known.items()]


async def write(
    connection: Connection, commits: Sequence[Commit], habits: Habits, *, telling: bool
) -> None:
    """In a transaction, all that these commits change.

    With ``telling``, those who wait for the positions and whoever publishes are woken when it
    commits.

    Raises:
        Fenced: a checkpoint is elsewhere or has another owner.
        RowsRefused: a derived event is not valid.
    """
    owes = any(c.changes.derived or c.changes.timers or c.dead_letters for c in commits)
    progress = [text for c in commits for text in _notices(c.projection, c.moves)]
    # The first statement of a commit, so that owners take turns.
    await _move_checkpoints(connection, commits, progress if telling else [], telling and owes)
    by_projection: dict[str, list[Changes]] = defaultdict(list)
    for commit in commits:
        by_projection[commit.projection].append(commit.changes)
    needed: list[Statement] = []
    for projection in sorted(by_projection):
        changes = merged(by_projection[projection])
        needed += habits.whole(projection, list(_statements(projection, changes)))
        await _append(connection, changes)
    if needed:
        sql, values = statements.combined(needed)
        await connection.execute(sql, *values)
    for commit in commits:
        await write_dead_letters(connection, commit.dead_letters)
        if commit.resolved:
            await connection.execute(_sql["resolve"], commit.projection, list(commit.resolved))


def _statements(projection: str, changes: Changes) -> Iterator[Statement]:
    for table, rows in changes.rows.items():
        # Keys sorted: transactions that touch the same rows meet in one order.
        keys: list[Key] = sorted(rows)
        written = [row for key in keys if (row := rows[key]) is not None]
        deleted = [key for key in keys if rows[key] is None]
        if deleted:
            arrays = statements.arrays_of_keys(table, deleted, len(table.key))
            yield statements.delete_sql(table), arrays
        if written:
            yield statements.upsert_sql(table), statements.arrays_of(table, written)
    for table, sums in changes.sums.items():
        ordered = [sums[key] for key in sorted(sums)]
        yield statements.add_sql(table), statements.arrays_of(table, ordered)
    for table, parts in changes.columns.items():
        if not table.appended:
            yield _by_columns(table, parts)
    if changes.derived:
        yield _owing(changes.derived, encoded(changes.derived))
    yield from _timers(projection, changes)


def _by_columns(table: Table[Any], parts: Sequence[pa.Table]) -> Statement:
    try:
        rows = columnar.merged(table, parts)
    except columnar.Inexact:
        exact = Changes(columns={table: list(parts)})
        exact.unfold()
        (statement,) = _statements("", exact)
        return statement
    sql = statements.add_sql if table.sums else statements.upsert_sql
    return sql(table, texts=True), statements.arrays_of_columns(table, rows)


def _timers(projection: str, changes: Changes) -> Iterator[Statement]:
    timers = [changes.timers[key] for key in sorted(changes.timers)]
    ended = [timer for timer in timers if timer.due is None]
    begun = [timer for timer in timers if timer.due is not None]
    if ended:
        users, names = [timer.user_id for timer in ended], [timer.timer for timer in ended]
        yield _sql["cancel_timers"], [projection, users, names]
    if begun:
        columns = [
            [timer.user_id for timer in begun],
            [timer.timer for timer in begun],
            [timer.due for timer in begun],
            [json.dumps(timer.payload) for timer in begun],
        ]
        yield _sql["set_timers"], [projection, *columns]


async def owe(connection: Connection, drafts: Sequence[Draft], events: Sequence[Encoded]) -> None:
    """Owe these events to the log, in their order; ``events`` are the drafts encoded."""
    if drafts:
        sql, values = _owing(drafts, events)
        await connection.execute(sql, *values)


def _owing(drafts: Sequence[Draft], events: Sequence[Encoded]) -> Statement:
    columns: list[Sequence[Any]] = [
        array_text.of_texts([draft.id for draft in drafts]),
        array_text.of_texts([event.topic for event in events]),
        [event.key for event in events],
        [event.value for event in events],
    ]
    return _sql["write_derived"], [*columns, CONTENT_TYPE.encode()]


async def _append(connection: Connection, changes: Changes) -> None:
    for table, rows in changes.appended.items():
        names = [column.name for column in table.columns]
        columns = statements.columns_of(table, rows)
        await connection.copy_records_to_table(
            table.name, columns=names, records=zip(*columns, strict=True)
        )
    for table, parts in changes.columns.items():
        if table.appended:
            await arrow.append(connection, table, parts)


async def _move_checkpoints(
    connection: Connection, commits: Sequence[Commit], progress: Sequence[str], owing: bool
) -> None:
    moves = sorted(
        (commit.projection, each.topic, each.partition, each.start, each.end, each.epoch)
        for commit in commits
        for each in commit.moves
    )
    moved = await connection.fetchval(
        _sql["move_checkpoints"],
        *statements.transposed(moves, 6),
        PROGRESS_CHANNEL,
        progress,
        [OUTBOX_CHANNEL] if owing else [],
    )
    if moved != len(moves):
        places = ", ".join(f"{name} {topic}:{no}:{start}" for name, topic, no, start, _, _ in moves)
        raise Fenced(f"not all of these are owned any more: {places}")


async def announce(connection: Connection, projection: str, moves: Sequence[Move]) -> None:
    """Wake those who wait for these positions, when the transaction commits."""
    for payload in _notices(projection, moves):
        await connection.execute("select pg_notify($1, $2)", PROGRESS_CHANNEL, payload)


def _notices(projection: str, moves: Sequence[Move]) -> list[str]:
    told = [[move.topic, move.partition, move.end] for move in moves]
    return [
        json.dumps([projection, told[at : at + NOTICE_MOVES_MAX]])
        for at in range(0, len(told), NOTICE_MOVES_MAX)
    ]


async def wake_relay(connection: Connection) -> None:
    """Tell the relay that something is owed, when the transaction commits."""
    await connection.execute("select pg_notify($1, '')", OUTBOX_CHANNEL)


async def write_dead_letters(connection: Connection, letters: Sequence[DeadLetter]) -> None:
    """Keep dead letters and owe them to their topic, each once however often it is refused."""
    for letter in letters:
        headers = dead_letters.headers_of(letter)
        original = letter.record.headers if letter.record else ()
        await connection.execute(
            _sql["write_dead_letter"],
            letter.projection,
            *letter.position,
            dead_letters.reason_of(letter),
            letter.event_key,
            letter.event_id,
            letter.user_id,
            letter.record.key if letter.record else None,
            letter.record.value if letter.record else None,
            [dead_letters.name_of(name) for name, _ in original],
            [value for _, value in original],
            dead_letters.identity_of(headers),
            dead_letters.TOPIC,
            [name for name, _ in headers],
            [value for _, value in headers],
        )
        await _supersede(connection, letter, original)


async def _supersede(connection: Connection, letter: DeadLetter, headers: Sequence[Any]) -> None:
    """The letter of a record that was retried takes the place of its first one."""
    identity = dead_letters.retry_of(headers)
    first = None if identity is None else dead_letters.place_of(identity)
    if first is not None:
        await connection.execute(_sql["supersede"], letter.projection, *first[1])


def _distribute(
    table: Table[Any],
    depth: int,
    wants: Sequence[Want],
    records: Sequence[Any],
    loaded: dict[Want, list[Row]],
) -> None:
    by_prefix: dict[Key, list[Want]] = defaultdict(list)
    for want in wants:
        by_prefix[want.prefix].append(want)
    for record in records:
        row = statements.row_of(table, record)
        key = table.key_of(row)
        for want in by_prefix[key[:depth]]:
            above = want.low is None or key[depth] >= want.low
            if above and (want.high is None or key[depth] <= want.high):
                loaded[want].append(row)

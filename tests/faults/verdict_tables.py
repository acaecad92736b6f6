"""PostgreSQL against the log: every table of every projection, and what they share."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from projections import dead_letters, outbox
from projections.analytics.appender import TOPICS as ANALYTICS_TOPICS
from projections.analytics.gather import ANALYTICS
from projections.batch import DeadLetter, Partition
from projections.catalog import row_projections
from projections.outbox import TIMER_SOURCE
from schemas.position import Position
from tests.faults.told import Told, capped, compared
from tests.recomputed import rows_of


async def table_differences(
    told: Told, letters: list[DeadLetter], ends: dict[tuple[str, int], int], connection: Any
) -> AsyncIterator[str]:
    """Line by line; ``letters`` are the dead letters of analytics, ``ends`` those of the log."""
    for projection in row_projections():
        again = told.folds[projection.name].store
        for table in projection.tables:
            expected = {table.key_of(row): row for row in again.table(table)}
            for line in compared(table.name, expected, await rows_of(connection, table)):
                yield line
    for line in compared("first_positions", told.first, await _first_positions(connection)):
        yield line
    wanted = await expected_letters(told, letters)
    for line in compared("dead_letters", wanted, await _dead_letters(connection)):
        yield line
    for line in compared("timers", _expected_timers(told), await _timers(connection)):
        yield line
    for line in capped("checkpoints", await _checkpoints(told, ends, connection)):
        yield line
    for line in capped("outbox", await _left(connection)):
        yield line


async def expected_letters(told: Told, letters: list[DeadLetter]) -> dict[Any, dict[str, Any]]:
    """What the table of dead letters must hold, by its key."""
    expected = {}
    unread = [DeadLetter("*", item.position, item.reason, None) for item in told.unreadable]
    for letter in (*unread, *letters):
        expected[(letter.projection, *letter.position)] = _row_of(told, letter, "open")
    for name, fold in told.folds.items():
        for letter in fold.store.dead_letters.values():
            key = letter.event_key
            is_open = key is not None and key in await fold.store.refused(name, [key])
            state = "open" if is_open else "resolved"
            expected[(letter.projection, *letter.position)] = _row_of(told, letter, state)
    return expected


def _row_of(told: Told, letter: DeadLetter, state: str) -> dict[str, Any]:
    record = told.records[letter.position]
    return {
        "reason": letter.reason,
        "event_key": letter.event_key,
        "event_id": letter.event_id,
        "user_id": letter.user_id,
        "key": record.key,
        "value": record.value,
        "headers": [(name, value) for name, value in record.headers],
        "state": state,
    }


def identities(expected: dict[Any, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The dead letters by what tells them apart in their topic, with the headers they have."""
    named = {}
    for (projection, *place), row in expected.items():
        letter = DeadLetter(projection, Position(*place), row["reason"], None)
        headers = [*row["headers"], *dead_letters.headers_of(letter)]
        named[dead_letters.identity_of(headers)] = {
            "key": row["key"],
            "value": row["value"],
            "headers": headers,
        }
    return named


async def _first_positions(connection: Any) -> dict[bytes, Position]:
    rows = await connection.fetch(
        'select f.key, t.name, f.partition, f."offset" from first_positions f'
        " join log_topics t on t.no = f.topic"
    )
    return {row[0].bytes: Position(row[1], row[2], row[3]) for row in rows}


async def _dead_letters(connection: Any) -> dict[Any, dict[str, Any]]:
    rows = await connection.fetch("select * from dead_letters")
    found = {}
    for row in rows:
        names, values = row["header_names"], row["header_values"]
        members = ("reason", "event_key", "event_id", "user_id", "key", "value", "state")
        found[row["projection"], row["topic"], row["partition"], row["offset"]] = {
            **{name: row[name] for name in members},
            "headers": list(zip(names, values, strict=True)),
        }
    return found


def _expected_timers(told: Told) -> dict[Any, Any]:
    """Those that folds have set and that no event of the log says to have fired."""
    fired = {event.id for event in told.events if event.source == TIMER_SOURCE}
    expected = {}
    for fold in told.folds.values():
        for (projection, user, name), timer in fold.store.timers.items():
            assert timer.due is not None, "a timer that is cancelled is not kept"
            if outbox.fired(projection, timer).id not in fired:
                # As JSON has it: that is what the table keeps.
                payload = json.loads(json.dumps(timer.payload))
                expected[projection, user, name] = {"due": timer.due, "payload": payload}
    return expected


async def _timers(connection: Any) -> dict[Any, Any]:
    rows = await connection.fetch("select * from timers")
    return {
        (row["projection"], row["user_id"], row["timer"]): {
            "due": row["due"],
            "payload": json.loads(row["payload"]),
        }
        for row in rows
    }


async def _checkpoints(told: Told, ends: dict[tuple[str, int], int], connection: Any) -> list[str]:
    """Each must lie behind the last record and not behind the log's end."""
    last: dict[Partition, int] = {}
    for position in told.records:
        place = Partition(position.topic, position.partition)
        last[place] = max(last.get(place, 0), position.offset + 1)
    rows = await connection.fetch(
        "select projection, topic, partition, next_offset from checkpoints"
    )
    found = {(row[0], Partition(row[1], row[2])): row[3] for row in rows}
    reads = {projection.name: projection.topics for projection in row_projections()}
    reads[ANALYTICS] = ANALYTICS_TOPICS
    lines = []
    for name, topics in reads.items():
        for place, end in sorted(last.items()):
            if place.topic in topics and found.get((name, place), 0) < end:
                at = found.get((name, place))
                lines.append(f"checkpoints {name}/{place.topic}/{place.partition}: {at} of {end}")
    for (name, place), at in sorted(found.items()):
        if at > max(last.get(place, 0), ends.get(place, 0)):
            lines.append(
                f"checkpoints {name}/{place.topic}/{place.partition}: {at} lies beyond the log,"
                f" which ends at {ends.get(place, 0)}"
            )
    return lines


async def _left(connection: Any) -> list[str]:
    """What is owed or under way at rest."""
    owed = await connection.fetch("select seq, topic, identity from outbox order by seq")
    ahead = await connection.fetch("select topic, identity from published_ahead")
    open_ = await connection.fetch("select id, ranges from clickhouse_flushes where state = 'open'")
    return [
        *(f"outbox {row['seq']}: {row['topic']} {row['identity']} is still owed" for row in owed),
        *(f"published_ahead {row[0]} {row[1]}: stands in the log, never derived" for row in ahead),
        *(f"clickhouse_flushes {row['id']}: is still open for {row['ranges']}" for row in open_),
    ]

"""Dead letters as an operator sees them: found, counted, put into the log again, or let be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, get_args

from projections import dead_letters
from projections.dead_letters import Header
from projections.postgres import queries
from projections.postgres.pool import Connection, Pool, acquire
from projections.postgres.statements import transposed
from projections.postgres.store import wake_relay
from schemas.limits import source_record_bytes_max
from schemas.position import Position

_sql = queries.load("projections.postgres", "dead_letters.sql")

State = Literal["open", "retried", "resolved", "superseded", "discarded"]
STATES: tuple[State, ...] = get_args(State)

#: What a record may weigh to go into its topic again: the broker counts its own fields, too.
RETRY_BYTES_MAX = source_record_bytes_max - 1024

#: Dead letters that one transaction decides on: each may weigh a megabyte.
DECIDED_MAX = 200

#: Operators take turns.
_OPERATOR_KEY = 0x64_65_61_64

#: What dead letters can be counted by, and how each is told.
COUNTED_BY = {
    "projection": "d.projection",
    "topic": "d.topic",
    "state": "d.state",
    "user": "coalesce(d.user_id, '')",
    "path": "split_part(d.reason, ':', 1)",
    "reason": "d.reason",
}


@dataclass(frozen=True)
class Chosen:
    """Which dead letters are meant: all conditions hold, None is no condition.

    ``reason`` is a part of it, capitals or not; ``user`` is the person, or what the key says where
    nobody could read the event; ``since`` is included, ``until`` is not. ``kept`` is whether the
    record is there: events of a log that was given up for another one may be known by name only.
    """

    positions: Sequence[Position] | None = None
    projections: Sequence[str] | None = None
    topics: Sequence[str] | None = None
    reason: str | None = None
    user: str | None = None
    states: Sequence[State] | None = None
    since: datetime | None = None
    until: datetime | None = None
    kept: bool | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing but the state narrows it down."""
        return replace(self, states=None, kept=None) == Chosen()

    def arguments(self) -> list[Any]:
        places: list[Any] = [None, None, None]
        if self.positions is not None:
            places = transposed(self.positions, 3)
        return [
            self.projections,
            self.topics,
            self.reason,
            self.user,
            self.states,
            self.since,
            self.until,
            *places,
            self.kept,
        ]


@dataclass(frozen=True)
class Letter:
    """A dead letter with its record and what was decided about it."""

    projection: str
    position: Position
    reason: str
    event_id: str | None
    user_id: str | None
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    state: State
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    decided_why: str | None


@dataclass(frozen=True)
class Amount:
    """How many dead letters, and how many records they are of: several may refuse one."""

    letters: int = 0
    records: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.letters + other.letters, self.records + other.records)


@dataclass(frozen=True)
class Decision:
    """What an operator decided, for the record."""

    by: str
    why: str | None = None


class TooLarge(Exception):
    """A record has no room in its topic any more; nothing was changed."""

    def __init__(self, position: Position, size: int) -> None:
        super().__init__(
            f"{position} has {size} bytes with its headers; its topic takes {RETRY_BYTES_MAX}."
            " Discard it, or leave it out"
        )


async def find(pool: Pool, chosen: Chosen, limit: int) -> list[Letter]:
    """The oldest ones that are meant, at most ``limit``."""
    async with acquire(pool) as connection:
        rows = await connection.fetch(_filtered("find"), *chosen.arguments(), limit)
    return [_letter(row) for row in rows]


async def count(pool: Pool, chosen: Chosen) -> Amount:
    """How many are meant."""
    async with acquire(pool) as connection:
        row = await connection.fetchrow(_filtered("count"), *chosen.arguments())
    return Amount(row["letters"], row["records"])


async def count_by(pool: Pool, chosen: Chosen, by: str) -> list[tuple[str, int]]:
    """How many of each, the most frequent first; ``by`` is one of ``COUNTED_BY``."""
    sql = _filtered("count_by").replace("{by}", COUNTED_BY[by])
    async with acquire(pool) as connection:
        rows = await connection.fetch(sql, *chosen.arguments())
    return [(row["what"], row["letters"]) for row in rows]


async def retry(pool: Pool, chosen: Chosen, decision: Decision, limit: int | None = None) -> Amount:
    """Owe the records of open dead letters to their topics again, in the order of the log.

    State and outbox change in one transaction, so a record goes into the log once, however often
    this is called and whatever is killed. Whoever had refused an event applies it at its new
    place; for all others it is a repetition there. So a record that several refused is one
    record, and all its open letters are retried. Letters without a record are passed over.
    ``limit`` bounds the letters that are looked for.

    Raises:
        TooLarge: one has no room in its topic; those before it may have been retried.
    """
    with_record = replace(chosen, kept=True)
    return await _in_parts(pool, with_record, limit, lambda c, rows: _retry(c, rows, decision))


async def discard(
    pool: Pool, chosen: Chosen, decision: Decision, limit: int | None = None
) -> Amount:
    """Never apply the events of open dead letters; the rows stay, with who decided it and why."""
    return await _in_parts(pool, chosen, limit, lambda c, rows: _discard(c, rows, decision))


Decide = Callable[[Connection, Sequence[Any]], Awaitable[Amount]]


async def _in_parts(pool: Pool, chosen: Chosen, limit: int | None, decide: Decide) -> Amount:
    """One transaction after the other; what is refused meanwhile is left for the next time."""
    done = Amount()
    async with acquire(pool) as connection:
        now = await connection.fetchval("select now()")
        before = replace(chosen, until=min(now, chosen.until or now))
        while limit is None or done.letters < limit:
            part = DECIDED_MAX if limit is None else min(DECIDED_MAX, limit - done.letters)
            async with connection.transaction():
                await connection.execute("select pg_advisory_xact_lock($1)", _OPERATOR_KEY)
                rows = await connection.fetch(_filtered("hold"), *before.arguments(), part)
                done += await decide(connection, rows)
            if len(rows) < part:
                break
    return done


async def _retry(connection: Connection, rows: Sequence[Any], decision: Decision) -> Amount:
    first = {_place(row): row for row in reversed(rows)}
    for place in sorted(first):
        await _owe(connection, first[place])
    places = transposed(sorted(first), 3)
    letters = await connection.fetch(_sql["companions"], *places)
    await _decide(connection, "retried", letters, decision)
    if rows:
        await wake_relay(connection)
    return Amount(len(letters), len(first))


async def _discard(connection: Connection, rows: Sequence[Any], decision: Decision) -> Amount:
    await _decide(connection, "discarded", rows, decision)
    return Amount(len(rows), len({_place(row) for row in rows}))


async def _owe(connection: Connection, row: Any) -> None:
    position = _place(row)
    identity = f"{row['projection']}|{position.topic}|{position.partition}|{position.offset}"
    headers = [header for header in _headers(row) if header[0] != dead_letters.RETRY]
    # The last one: there it is looked for.
    headers.append((dead_letters.RETRY, identity.encode()))
    size = len(row["key"] or b"") + len(row["value"] or b"")
    size += sum(len(name.encode()) + len(value or b"") for name, value in headers)
    if size > RETRY_BYTES_MAX:
        raise TooLarge(position, size)
    await connection.execute(
        _sql["owe"],
        identity,
        position.topic,
        row["key"],
        row["value"],
        [name for name, _ in headers],
        [value for _, value in headers],
    )


async def _decide(
    connection: Connection, state: State, rows: Sequence[Any], decision: Decision
) -> None:
    places = [(row["projection"], *_place(row)) for row in rows]
    status = await connection.execute(
        _sql["decide"], state, decision.by, decision.why, *transposed(places, 4)
    )
    assert status == f"UPDATE {len(rows)}", "they are held, so nobody else decides on them"


def _filtered(name: str) -> str:
    return _sql[name].replace("{chosen}", _chosen())


def _chosen() -> str:
    lines = _sql["chosen"].splitlines()
    return "\n".join(line for line in lines if not line.startswith("--"))


def _place(row: Any) -> Position:
    return Position(row["topic"], row["partition"], row["offset"])


def _headers(row: Any) -> Iterator[Header]:
    yield from zip(row["header_names"], row["header_values"], strict=True)


def _letter(row: Any) -> Letter:
    return Letter(
        projection=row["projection"],
        position=_place(row),
        reason=row["reason"],
        event_id=row["event_id"],
        user_id=row["user_id"],
        key=row["key"],
        value=row["value"],
        headers=tuple(_headers(row)),
        state=row["state"],
        created_at=row["created_at"],
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
        decided_why=row["decided_why"],
    )

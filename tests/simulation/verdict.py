"""What must hold when everything has come to rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from projections import dead_letters
from projections.analytics.append import AppendTable
from projections.analytics.appender import TOPICS
from projections.analytics.tables import SESSIONS, TABLES
from projections.batch import Partition
from projections.projection import Projection
from schemas.position import Position
from streams.relay_log import name_of
from tests.simulation.log import Log
from tests.simulation.refold import Folded, Readings, refold, rows_for_analysts
from tests.simulation.servers import ClickHouse, Postgres

#: Differences of one kind that are told.
TOLD_MAX = 5


def differences(
    log: Log,
    postgres: Postgres,
    clickhouse: ClickHouse,
    projections: Sequence[Projection],
    analytics: bool,
) -> list[str]:
    """Everything that is not as the plain recomputation of the log has it; one line each."""
    topics = {topic for projection in projections for topic in projection.topics}
    readings = Readings(log, topics | set(TOPICS if analytics else ()))
    first = postgres.index.first
    found = list(_of_first_positions(readings, first))
    if found:
        return found
    folded = {one.name: refold(one, readings, first) for one in projections}
    for projection in projections:
        found += _of_tables(projection, folded[projection.name], postgres)
    found += _of_derived(log, folded)
    found += _of_refused(log, readings, folded, postgres)
    if analytics:
        found += _of_rows(clickhouse, rows_for_analysts(readings, first))
    return found


def _of_first_positions(readings: Readings, first: Mapping[UUID, Position]) -> Iterator[str]:
    """Each id has one first position: the first of it in its partition, and in the log."""
    earliest: dict[tuple[UUID, Partition], Position] = {}
    for place, events in readings.events.items():
        for event in events:
            earliest.setdefault((event.key, place), event.position)
    for (key, _), position in earliest.items():
        chosen = first.get(key)
        if chosen is None:
            yield f"the event at {position} was never judged"
        elif earliest.get((key, Partition(*chosen[:2]))) != chosen:
            yield f"the index says that {chosen} is the first of the event at {position}"


def _of_tables(projection: Projection, folded: Folded, postgres: Postgres) -> Iterator[str]:
    for table in projection.tables:
        wanted = {table.key_of(row): row for row in folded.tables[table.name]}
        there = {table.key_of(row): row for row in postgres.store.table(table)}
        yield from _unlike(f"table {table.name}", wanted, there)


def _of_derived(log: Log, folded: Mapping[str, Folded]) -> Iterator[str]:
    """Each derived event once in its topic, and those of a person in the order of their causes."""
    wanted = {
        (draft.id, projection): cause
        for projection, one in folded.items()
        for draft, cause in one.derived.values()
    }
    causes = {id: (projection, cause) for (id, projection), cause in wanted.items()}
    seen: Counter[str] = Counter()
    newest: dict[tuple[object, ...], int] = {}
    for place in log.places():
        for record in log.records[place]:
            name = None if record.topic == dead_letters.TOPIC else name_of(record)
            if name is None:
                continue
            identity = name[1]
            seen[identity] += 1
            if identity in causes:
                projection, cause = causes[identity]
                way = (place, record.key, projection, cause.topic, cause.partition)
                if cause.offset < newest.get(way, -1):
                    yield f"{identity} in {place} comes after an event of a later cause"
                newest[way] = cause.offset
            elif record.topic != "app.commands":
                yield f"{identity} in {place} is derived from nothing"
    for identity in causes:
        if identity not in seen:
            yield f"{identity}, derived from {causes[identity]}, is not in the log"
    for identity, count in seen.items():
        if count > 1:
            yield f"{identity} is {count} times in the log"


def _of_refused(
    log: Log, readings: Readings, folded: Mapping[str, Folded], postgres: Postgres
) -> Iterator[str]:
    """Each refusal is a dead letter, in the table and once in the topic."""
    wanted = {(name, *place) for name, one in folded.items() for place in one.refused}
    wanted |= {("*", *place) for place in readings.unreadable}
    there = set(postgres.store.dead_letters)
    there |= {("*", *place) for place in postgres.index.unreadable}
    for one in sorted(wanted - there):
        yield f"not kept as a dead letter: {one}"
    for one in sorted(there - wanted):
        yield f"kept as a dead letter, and was not refused: {one}"
    topic = Counter(
        dead_letters.identity_of(record.headers)
        for place in log.places()
        if place.topic == dead_letters.TOPIC
        for record in log.records[place]
    )
    names = {"|".join(map(str, one)) for one in wanted}
    for name in sorted(names | set(topic)):
        expected = 1 if name in names else 0
        if topic[name] != expected:
            yield f"the dead letter {name} is {topic[name]} times in its topic"


def _of_rows(
    clickhouse: ClickHouse, wanted: Mapping[AppendTable, Sequence[tuple[Any, ...]]]
) -> Iterator[str]:
    """The rows of each table as they were sent, without merging what is there twice."""
    for table in TABLES:
        if clickhouse.store.rows(table) == wanted[table]:
            continue
        there = Counter(map(repr, clickhouse.store.rows(table)))
        expected = Counter(map(repr, wanted[table]))
        if table is SESSIONS:
            # It merges what it has; a row that it saw twice is one.
            there, expected = Counter(set(there)), Counter(set(expected))
        lacking, excess = expected - there, there - expected
        yield from (f"{table.name} lacks {row}" for row in list(lacking)[:TOLD_MAX])
        yield from (f"{table.name} has too often {row}" for row in list(excess)[:TOLD_MAX])


def _unlike(what: str, wanted: Mapping[Any, Any], there: Mapping[Any, Any]) -> Iterator[str]:
    told = 0
    for key in sorted(set(wanted) | set(there)):
        if wanted.get(key) != there.get(key) and told < TOLD_MAX:
            told += 1
            yield f"{what} {key}: {there.get(key)} instead of {wanted.get(key)}"

"""Derived topics and dead letters against the log: each once, whole, in the order of causes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from projections import dead_letters
from projections.batch import Partition
from projections.outbox import TIMER_SOURCE
from schemas.codec import encode
from schemas.envelope import Draft, Event, key_of, topic_of
from schemas.position import Position
from schemas.topics import TOPICS
from tests.faults.parts import Broker
from tests.faults.told import Told, capped, compared


def topic_differences(
    told: Told, letters: dict[str, dict[str, Any]], broker: Broker
) -> Iterator[str]:
    """Line by line; ``letters`` are the dead letters that must be, by identity.

    Tansu shows the records of aborted transactions to everybody, so that a record may stand there
    twice; whether each is there once can be asked on Apache Kafka only.
    """
    found = [event for event in told.events if TOPICS[event.position.topic].derived]
    first: dict[str, Event] = {}
    for event in found:
        first.setdefault(event.id, event)
    expected = {draft.id: draft for fold in told.folds.values() for draft in fold.store.derived}
    yield from compared(
        "derived",
        {name: _said(draft) for name, draft in expected.items()},
        {name: _found(told, event) for name, event in first.items()},
    )
    for name, fold in told.folds.items():
        for place, drafts in fold.derived.items():
            yield from capped("order", _order(name, place, drafts, first))
    yield from compared("dead-letters", letters, _letters(told))
    if broker == "kafka":
        fired = [event for event in told.events if event.source == TIMER_SOURCE]
        yield from capped("derived", _repeated([*found, *fired]))
        yield from capped("order", _before_causes(told, found))
        yield from capped("dead-letters", _repeated_letters(told))


def _said(draft: Draft) -> dict[str, Any]:
    return {
        "topic": topic_of(draft).name,
        "key": key_of(draft),
        "event": msgspec.json.decode(encode(draft)),
    }


def _found(told: Told, event: Event) -> dict[str, Any]:
    record = told.records[event.position]
    return {
        "topic": event.position.topic,
        "key": record.key,
        "event": told.documents[event.position],
    }


def _order(
    name: str, place: Partition, drafts: list[Draft], first: dict[str, Event]
) -> Iterator[str]:
    """What a projection derived from one partition, for one person: as its causes stand there."""
    last: dict[Partition, dict[str | None, Event]] = {}
    for draft in dict.fromkeys(draft.id for draft in drafts):
        event = first.get(draft)
        if event is None:
            continue
        goal = Partition(*event.position[:2])
        before = last.setdefault(goal, {}).get(event.user_id)
        if before is not None and event.position.offset < before.position.offset:
            yield (
                f"order {name} from {place.topic}:{place.partition}: {event.id} stands at"
                f" {event.position}, but its cause comes after that of {before.id}"
                f" at {before.position}"
            )
        last[goal][event.user_id] = event


def _repeated(events: list[Event]) -> Iterator[str]:
    first: dict[tuple[str, str], Position] = {}
    for event in events:
        known = first.setdefault((event.source, event.id), event.position)
        if known != event.position:
            yield f"derived {event.id}: stands at {known} and again at {event.position}"


def _before_causes(told: Told, derived: list[Event]) -> Iterator[str]:
    """The broker stamps what it takes: nothing can have been derived before its cause was there."""
    causes: dict[str, Event] = {}
    for event in told.events:
        known = causes.setdefault(event.id, event)
        if event.ingested_at < known.ingested_at:
            causes[event.id] = event
    for event in derived:
        cause = causes.get(event.causation_id or "")
        if cause is None:
            yield f"order {event.id}: its cause {event.causation_id} is not in the log"
        elif event.ingested_at < cause.ingested_at:
            yield (
                f"order {event.id}: taken by the log at {event.ingested_at}, its cause {cause.id}"
                f" at {cause.ingested_at}"
            )


def _letters(told: Told) -> dict[str, dict[str, Any]]:
    return {
        dead_letters.identity_of(list(record.headers)): {
            "key": record.key,
            "value": record.value,
            "headers": [(name, value) for name, value in record.headers],
        }
        for record in told.dead_letters
    }


def _repeated_letters(told: Told) -> Iterator[str]:
    first: dict[str, Position] = {}
    for record in told.dead_letters:
        name, place = dead_letters.identity_of(list(record.headers)), Position(*record[:3])
        known = first.setdefault(name, place)
        if known != place:
            yield f"dead-letters {name}: stands at {known} and again at {place}"

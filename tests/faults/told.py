"""What the log says, read once for all comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from projections.batch import Partition
from projections.catalog import row_projections
from schemas import cloudevents
from schemas.codec import RawRecord, Unreadable
from schemas.envelope import Event, idempotency_key
from schemas.position import Position
from tests.recomputed import Refolded, by_place, decoded, refolded_events

#: Differences of one kind that are named; further ones are counted.
NAMED_MAX = 12

Document = dict[str, Any]


@dataclass
class Told:
    """A whole log: events where they stand, what nobody can read, dead letters apart."""

    events: list[Event]
    unreadable: list[Unreadable]
    dead_letters: list[RawRecord]
    #: Every record that is no dead letter, by its place.
    records: dict[Position, RawRecord]
    folds: dict[str, Refolded] = field(default_factory=dict)

    @cached_property
    def places(self) -> dict[Partition, list[Event]]:
        return by_place(self.events)

    @cached_property
    def documents(self) -> dict[Position, Document]:
        """Each event as any JSON reader sees it."""
        return {event.position: self._document(event) for event in self.events}

    @cached_property
    def first(self) -> dict[bytes, Position]:
        """Where each (source, id) stands first."""
        first: dict[bytes, Position] = {}
        for event in self.events:
            known = self.documents[event.position]
            first.setdefault(idempotency_key(known["source"], known["id"]), event.position)
        return first

    def repeated(self, place: Partition) -> frozenset[int]:
        """Offsets of a partition whose event stands elsewhere before."""
        return frozenset(
            event.position.offset
            for event in self.places.get(place, ())
            if self.first[event.key_bytes] != event.position
        )

    def _document(self, event: Event) -> Document:
        if event.binary:
            found = cloudevents.kafka_document(event.raw, self.records[event.position].headers)
            return dict(found.value or {})
        whole: Document = msgspec.json.decode(event.raw)
        return whole


async def told_by(records: Iterable[RawRecord]) -> Told:
    """Decode a log, and fold it again with every projection that keeps rows."""
    kept = list(records)
    letters = [record for record in kept if record.topic == "dead-letters"]
    others = [record for record in kept if record.topic != "dead-letters"]
    items = decoded(others)
    told = Told(
        [item for item in items if isinstance(item, Event)],
        [item for item in items if isinstance(item, Unreadable)],
        letters,
        {Position(*record[:3]): record for record in others},
    )
    for projection in row_projections():
        told.folds[projection.name] = await refolded_events(projection, told.places)
    return told


def compared(what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> Iterator[str]:
    """One line for each key that is missing, surplus or different; of rows only what differs."""
    return capped(what, _compared(what, expected, found))


def capped(what: str, lines: Iterable[str]) -> Iterator[str]:
    """The first few, then how many more there are."""
    count = 0
    for line in lines:
        count += 1
        if count <= NAMED_MAX:
            yield line
    if count > NAMED_MAX:
        yield f"{what}: and {count - NAMED_MAX} more differences"


def _compared(what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> Iterator[str]:
    for key in expected:
        if key not in found:
            yield f"{what} {_name(key)}: is missing; expected {_short(expected[key])}"
        elif found[key] != expected[key]:
            yield f"{what} {_name(key)}: {_apart(expected[key], found[key])}"
    for key in found:
        if key not in expected:
            yield f"{what} {_name(key)}: the log says nothing of {_short(found[key])}"


def _apart(expected: Any, found: Any) -> str:
    one, other = _members(expected), _members(found)
    if one is None or other is None:
        return f"expected {_short(expected)}, found {_short(found)}"
    names = [name for name in one if one[name] != other.get(name)]
    names += [name for name in other if name not in one]
    return "; ".join(
        f"{name} expected {_short(one.get(name))}, found {_short(other.get(name))}"
        for name in names
    )


def _members(value: Any) -> dict[str, Any] | None:
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    return value if isinstance(value, dict) else None


def _name(key: Any) -> str:
    parts = key if isinstance(key, tuple) else (key,)
    return "/".join(part.hex() if isinstance(part, bytes) else str(part) for part in parts)


def _short(value: Any) -> str:
    text = str(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 240 else f"{text[:240]}…"

"""Asking an index of first positions about events."""

from __future__ import annotations

from collections.abc import Sequence

from projections.batch import DeadLetter, Partition, keyed
from projections.store import Index
from schemas.envelope import Event
from schemas.position import Position


async def judged(
    index: Index,
    events: Sequence[Event],
    unreadable: Sequence[DeadLetter] = (),
    read_at_last: Sequence[Position] = (),
) -> set[int]:
    """Which of them are repetitions, by their numbers."""
    places = list(dict.fromkeys(Partition(*event.position[:2]) for event in events))
    parts = [
        keyed(place, [event for event in events if event.position[:2] == place]) for place in places
    ]
    found = dict(zip(places, await index.judge(parts, unreadable, read_at_last), strict=True))
    return {
        number
        for number, event in enumerate(events)
        if event.position.offset in found[Partition(*event.position[:2])]
    }

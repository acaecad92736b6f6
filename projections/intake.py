"""Reading what was fetched: decode once, judge duplicates once, for all projections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from projections import dead_letters
from projections.backoff import Report, Sleep, until_available
from projections.batch import Batch, DeadLetter, Partition
from projections.store import Index
from schemas.codec import Unreadable, decode_batch
from schemas.envelope import Event
from schemas.fast import Record
from schemas.position import Position
from schemas.topics import TOPICS, KeyKind


@dataclass(frozen=True)
class Fetched:
    """Records of one partition as they came, from ``start`` up to but not including ``end``."""

    place: Partition
    start: int
    end: int
    records: Sequence[Record]
    release: Callable[[], None] = lambda: None


class Intake:
    """Turns what one fetch brought into batches, with one question to the index for all."""

    def __init__(
        self,
        index: Index,
        partitions: Mapping[str, int],
        tenant: str,
        sleep: Sleep = asyncio.sleep,
        report: Report | None = None,
    ) -> None:
        self._index = index
        self._partitions = partitions
        self._tenant = tenant
        self._sleep = sleep
        self._report = report

    async def read(
        self, fetched: Sequence[Fetched], commands_end: Mapping[Partition, int]
    ) -> list[Batch]:
        """One batch for each fetched partition, in the same order."""
        decoded = [
            decode_batch(part.records, partitions=self._partitions, tenant=self._tenant)
            for part in fetched
        ]
        events = [item for items in decoded for item in items if isinstance(item, Event)]
        letters = [
            _unreadable(item) for items in decoded for item in items if isinstance(item, Unreadable)
        ]
        again = [
            place
            for part, items in zip(fetched, decoded, strict=True)
            for record, item in zip(part.records, items, strict=True)
            if isinstance(item, Event) and (place := _unread_before(record))
        ]
        repeated = await self._judge(events, letters, again)
        return [
            Batch(
                topic=part.place.topic,
                partition=part.place.partition,
                start=part.start,
                end=part.end,
                events=[item for item in items if isinstance(item, Event)],
                duplicates=frozenset(
                    position.offset
                    for position in repeated
                    if (position.topic, position.partition) == part.place
                ),
                commands_end=_bearing_on(part.place, commands_end),
                records={record.offset: record for record in part.records},
                release=part.release,
            )
            for part, items in zip(fetched, decoded, strict=True)
        ]

    async def _judge(
        self,
        events: Sequence[Event],
        letters: Sequence[DeadLetter],
        read_at_last: Sequence[Position],
    ) -> set[Position]:
        if not events and not letters:
            return set()
        numbers = await until_available(
            "the index judges",
            lambda: self._index.judge(events, letters, read_at_last),
            self._sleep,
            self._report,
        )
        return {events[number].position for number in numbers}


def _bearing_on(place: Partition, commands_end: Mapping[Partition, int]) -> dict[Partition, int]:
    """People's events wait for the commands of their own partition, market data for all."""
    if TOPICS[place.topic].key is KeyKind.USER:
        return {of: end for of, end in commands_end.items() if of.partition == place.partition}
    return dict(commands_end)


def _unreadable(item: Unreadable) -> DeadLetter:
    return DeadLetter(dead_letters.NOBODY, item.position, item.reason, item.record)


def _unread_before(record: Record) -> Position | None:
    """Where the record stood when nobody could read it, if it is one that was retried."""
    identity = dead_letters.retry_of(record.headers)
    found = None if identity is None else dead_letters.place_of(identity)
    return found[1] if found and found[0] == dead_letters.NOBODY else None

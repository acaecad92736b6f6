"""Reading what was fetched: decode once, judge duplicates once, for all projections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from projections import dead_letters
from projections.backoff import Report, Sleep, until_available
from projections.batch import Batch, DeadLetter, Keyed, LazyEvents, Partition, keyed
from projections.store import Index
from schemas.codec import Unreadable, decode_batch
from schemas.columns import Columns, decode_columns
from schemas.envelope import Event
from schemas.fast import Record
from schemas.position import Position
from schemas.topics import TOPICS, KeyKind

#: Records of one partition that are worth decoding as columns: below it, setting them up costs
#: more than it saves.
COLUMNS_MIN = 2_000


@dataclass(frozen=True)
class Fetched:
    """Records of one partition as they came, from ``start`` up to but not including ``end``."""

    place: Partition
    start: int
    end: int
    records: Sequence[Record]
    release: Callable[[], None] = lambda: None
    #: Where the partitions of commands ended after these records were fetched.
    commands_end: Mapping[Partition, int] = field(default_factory=dict)


@dataclass
class _Read:
    """What the records of one partition are: events, and what nobody can read."""

    events: Sequence[Event]
    keyed: Keyed
    letters: list[DeadLetter] = field(default_factory=list)
    #: Where events stood that nobody could read then, and that were put into the log again.
    again: list[Position] = field(default_factory=list)
    columns: Columns | None = None


class Intake:
    """Turns what was fetched into batches, with one question to the index for all of it."""

    def __init__(
        self,
        index: Index,
        partitions: Mapping[str, int],
        tenant: str,
        sleep: Sleep = asyncio.sleep,
        report: Report | None = None,
        *,
        columnar: Collection[str] = (),
    ) -> None:
        self._index = index
        self._partitions = partitions
        self._tenant = tenant
        self._columnar = columnar
        self._sleep = sleep
        self._report = report

    async def read(self, fetched: Sequence[Fetched]) -> list[Batch]:
        """One batch for each of them, in the same order, which is that of the log."""
        read = [await self._decode(part) for part in fetched]
        repeated = await self._judge(
            [each.keyed for each in read],
            [letter for each in read for letter in each.letters],
            [place for each in read for place in each.again],
        )
        return [
            Batch(
                topic=part.place.topic,
                partition=part.place.partition,
                start=part.start,
                end=part.end,
                events=each.events,
                duplicates=duplicates,
                commands_end=_bearing_on(part.place, part.commands_end),
                records=part.records,
                release=part.release,
                columns=each.columns,
            )
            for part, each, duplicates in zip(fetched, read, repeated, strict=True)
        ]

    async def _decode(self, part: Fetched) -> _Read:
        if part.place.topic in self._columnar and len(part.records) >= COLUMNS_MIN:
            # In a thread, because most of it runs without the interpreter's lock.
            columns = await asyncio.to_thread(
                decode_columns,
                part.records,
                partitions=self._partitions.get(part.place.topic),
                tenant=self._tenant,
            )
            if columns is not None:
                return self._read_of(part, columns)
        return self._decode_each(part)

    def _read_of(self, part: Fetched, columns: Columns) -> _Read:
        def events() -> Sequence[Event]:
            return self._decode_each(part).events

        offsets = columns.offsets
        known = Keyed(part.place, offsets, columns.keys())
        return _Read(LazyEvents(len(offsets), events), known, columns=columns)

    def _decode_each(self, part: Fetched) -> _Read:
        records = list(part.records)
        decoded = decode_batch(records, partitions=self._partitions, tenant=self._tenant)
        events = [item for item in decoded if isinstance(item, Event)]
        read = _Read(events, keyed(part.place, events))
        if len(events) < len(decoded):
            read.letters += [_unreadable(item) for item in decoded if isinstance(item, Unreadable)]
        for record, item in zip(records, decoded, strict=True):
            # Without headers, or with one alone, as most are: nothing to look for.
            if record.headers and isinstance(item, Event) and (place := _unread_before(record)):
                read.again.append(place)
        return read

    async def _judge(
        self,
        parts: Sequence[Keyed],
        letters: Sequence[DeadLetter],
        read_at_last: Sequence[Position],
    ) -> list[frozenset[int]]:
        if not letters and not any(part.keys for part in parts):
            return [frozenset()] * len(parts)
        return await until_available(
            "the index judges",
            lambda: self._index.judge(parts, letters, read_at_last),
            self._sleep,
            self._report,
        )


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

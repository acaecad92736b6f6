"""History: one client's own reading of the log, from its cursor to where the ring takes over.

The pace is the client's: nothing is fetched before what was fetched has been sent.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Any

from gateway.log import Ends, Place
from gateway.tail.hub import Hub
from gateway.tail.kafka import (
    Consumer,
    LogChanged,
    Tp,
    beginnings_of,
    consumer,
    translated,
)
from gateway.tail.message import Message
from gateway.tail.selection import Selection
from schemas.topics import JOURNEYS

RECORDS_MAX = 500
POLL_MS = 200

#: What was read of one place: its messages, and the offset to read on from.
Read = tuple[Place, list[Message], int]


class History:
    """Reads the log in some places from some offsets on."""

    def __init__(self, kafka: str, hub: Hub, ends: Ends) -> None:
        self._kafka = kafka
        self._hub = hub
        self._ends = ends

    async def read(
        self,
        offsets: Mapping[Place, int | None],
        first: Collection[Place],
        selection: Selection,
    ) -> AsyncGenerator[list[Read]]:
        """What there is, from each offset (None: the beginning) on, for as long as it is asked.

        What those of this selection can't see because of its key is left out.

        Of the journeys, the places in ``first`` are read up to their end before the others, so
        that it is known who is on which session when steps without a person come. Every
        answer names all places, also those where nothing came.

        Raises:
            LogChanged: the log does not have these offsets.
            Unavailable: the log does not answer.
        """
        async with consumer(
            self._kafka, "gateway-history", self._hub.settings.fetch_wait_ms
        ) as client:
            starts = await self._starts(client, offsets)
            client.assign([Tp(*place) for place in starts])
            for place, offset in starts.items():
                client.seek(Tp(*place), offset)
            held = await self._hold(client, starts, first)
            while True:
                async with translated():
                    batches = await client.getmany(timeout_ms=POLL_MS, max_records=RECORDS_MAX)
                read = {
                    (tp.topic, tp.partition): self._read(tp, records, selection)
                    for tp, records in batches.items()
                }
                # Of all places: one may end in records that are not for readers (transaction
                # markers), and is passed without a message.
                yield [
                    (place, read.get(place, []), await client.position(Tp(*place)))
                    for place in starts
                ]
                if held and await _passed(client, held.goals):
                    client.resume(*held.paused)
                    held = None

    async def _starts(
        self, client: Consumer, offsets: Mapping[Place, int | None]
    ) -> dict[Place, int]:
        beginnings = await beginnings_of(client, offsets)
        ends = await self._ends.ends(offsets)
        for place, offset in offsets.items():
            if offset is not None and not beginnings[place] <= offset <= ends[place]:
                topic, partition = place
                raise LogChanged(
                    f"{topic}:{partition} has the offsets {beginnings[place]} to {ends[place]}"
                )
        return {
            place: beginnings[place] if offset is None else offset
            for place, offset in offsets.items()
        }

    def _read(self, tp: Tp, records: list[Any], selection: Selection) -> list[Message]:
        asked = selection.asked(tp.topic)
        return self._hub.reader.messages([each for each in records if asked(each.key)])

    async def _hold(
        self, client: Consumer, starts: Mapping[Place, int], first: Collection[Place]
    ) -> _Held | None:
        others = [p for p in starts if p[0] == JOURNEYS.name and p not in first]
        own = [p for p in starts if p[0] == JOURNEYS.name and p in first]
        if not others or not own:
            return None
        goals = await self._ends.ends(own)
        paused = [Tp(*place) for place in others]
        client.pause(*paused)
        return _Held(paused, goals)


class _Held:
    def __init__(self, paused: list[Tp], goals: Mapping[Place, int]) -> None:
        self.paused = paused
        self.goals = goals


async def _passed(client: Consumer, goals: Mapping[Place, int]) -> bool:
    return all([await client.position(Tp(*place)) >= goal for place, goal in goals.items()])

"""The hub: what the one feed of this process reads, kept for a while and passed on to all.

The ring keeps the newest of it, messages and what nobody asked for, so that a reader who was away
for a moment, or who has read history, joins without asking Kafka. ``floors`` says for each place
from which offset on the ring has everything, ``heads`` how far the feed has read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from itertools import islice
from typing import Any, Protocol

from gateway.log import Place
from gateway.settings import TailSettings
from gateway.tail.cursor import varint
from gateway.tail.message import Asked, Kept, Message, Reader, Sessions, Unread
from gateway.tail.selection import Selection, anybody, is_of_persons, is_of_the_market
from projections.store import Unavailable


class Ending(Enum):
    """Why a subscription ends from our side: WebSocket close code and what is said."""

    SLOW = 4008
    EXPIRED = 4401
    BAD_CURSOR = 4400
    RESTART = 1012


class Listener(Protocol):
    """A live subscription, as the hub sees it."""

    selection: Selection

    def offer(self, message: Message) -> None:
        """Take a message or leave it; never waits."""

    def end(self, ending: Ending) -> None:
        """Nothing more will come."""


class Hub:
    """Passes messages on to the listeners that may see them: all in one thread, never waiting."""

    def __init__(self, settings: TailSettings, tenant: str) -> None:
        self.settings = settings
        self._tenant = tenant
        self.sessions = Sessions()
        self.history_slots = asyncio.Semaphore(settings.history_readers_max)
        self.delivered = 0
        self.ended_slow = 0
        self._listeners: set[Listener] = set()
        #: By the key of the person's records.
        self._by_key: dict[bytes, set[Listener]] = {}
        self._all: set[Listener] = set()
        self._market: set[Listener] = set()
        self._running = asyncio.Event()
        self._why_not = "the log has not been read yet"
        #: Which log is read; cursors are of one log and mean nothing in another.
        self.log = ""
        self._clear({}, {})

    # State ---------------------------------------------------------------------------------

    def _clear(self, partitions: Mapping[str, int], ends: Mapping[Place, int]) -> None:
        self._partitions = dict(partitions)
        self.reader = Reader(self._partitions, self._tenant, self.sessions)
        self.places: list[Place] = sorted(ends)
        self.numbers = {place: number for number, place in enumerate(self.places)}
        self.heads = [ends[place] for place in self.places]
        self.floors = list(self.heads)
        self.chunks = [varint(head) for head in self.heads]
        self._ring: deque[Kept] = deque()
        self._ring_bytes = 0
        self._first = 0

    def start(self, partitions: Mapping[str, int], ends: Mapping[Place, int], log: str) -> None:
        """The feed reads from these ends on, of the log of this name."""
        self._clear(partitions, ends)
        self.log = log
        self._running.set()

    def stop(self, reason: str) -> None:
        """The feed reads no more, for now or for good; everybody must come again."""
        self._why_not = reason
        self._running.clear()
        for listener in list(self._listeners):
            listener.end(Ending.RESTART)

    async def running(self, seconds: float) -> None:
        """Return once the feed runs; raises Unavailable if it does not in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._running.wait()
        except TimeoutError:
            raise Unavailable(self._why_not) from None

    @property
    def down(self) -> str | None:
        """Why there is no feed; None if there is one."""
        return None if self._running.is_set() else self._why_not

    @property
    def partition_counts(self) -> Mapping[str, int]:
        """The number of partitions by topic, empty while the feed has not run."""
        return self._partitions

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; raises Unavailable while that is not known."""
        count = self._partitions.get(topic)
        if count is None:
            raise Unavailable(f"{topic}: {self._why_not}")
        return count

    @property
    def clients(self) -> int:
        return len(self._listeners)

    # Messages ------------------------------------------------------------------------------

    def publish(self, place: Place, records: Sequence[Any]) -> None:
        """Pass on what the feed read of a place, at least one record."""
        number = self.numbers[place]
        for kept in self.reader.kept(place, records, self._asked(place[0])):
            self._keep(kept)
            if isinstance(kept, Unread):
                continue
            self.heads[number] = kept.offset + 1
            self.chunks[number] = kept.next_chunk
            for listener in self._readers(kept):
                listener.offer(kept)
        # What was not passed on is nobody's who listens.
        self.heads[number] = records[-1].offset + 1
        self.chunks[number] = varint(self.heads[number])

    def _asked(self, topic: str) -> Asked:
        """Which keys somebody listens to; journeys also tell who is on which session."""
        if self._all:
            return anybody
        if is_of_persons(topic):
            return self._by_key.__contains__
        if is_of_the_market(topic) and not self._market:
            return _nobody
        return anybody

    def _keep(self, kept: Kept) -> None:
        ring, settings = self._ring, self.settings
        ring.append(kept)
        self._ring_bytes += kept.size
        while len(ring) > settings.ring_messages_max or self._ring_bytes > settings.ring_bytes_max:
            oldest = ring.popleft()
            self._first += 1
            self._ring_bytes -= oldest.size
            self.floors[self.numbers[oldest.place]] = oldest.offset + 1

    def _readers(self, message: Message) -> Sequence[Listener]:
        user_id = message.user_id
        if user_id is None and message.session is not None:
            user_id = self.sessions.person(message.session)
        own = self._by_key.get(user_id.encode(), ()) if user_id is not None else ()
        market = self._market if message.user_id is None and message.session is None else ()
        # Offering may end a listener and so change the sets.
        return [*own, *market, *self._all]

    # Listeners -----------------------------------------------------------------------------

    @property
    def ring_first(self) -> int:
        """The number of the oldest that is kept."""
        return self._first

    def ring(self, sequence: int, count: int) -> tuple[int, list[Kept]]:
        """Up to ``count`` of what is kept from the ``sequence``-th on (of all ever kept).

        Returns the number of the first one, which is larger if some have been dropped since.
        """
        first = max(sequence, self._first)
        start = first - self._first
        return first, list(islice(self._ring, start, start + count))

    def covers(self, offsets: Mapping[Place, int]) -> bool:
        """Whether the ring has everything from these offsets on."""
        floors, numbers = self.floors, self.numbers
        return all(offset >= floors[numbers[place]] for place, offset in offsets.items())

    def heads_of(self, places: Collection[Place]) -> dict[Place, int]:
        """How far the feed has read in these places."""
        return {place: self.heads[self.numbers[place]] for place in places}

    def enter(self, listener: Listener) -> None:
        """Know of this listener, who reads by itself until it joins."""
        self._listeners.add(listener)

    def join(self, listener: Listener) -> None:
        """Pass messages on to this listener from now on."""
        selection = listener.selection
        if selection.sees_all:
            self._all.add(listener)
            return
        self._by_key.setdefault(selection.user_id.encode(), set()).add(listener)
        if selection.sees_market:
            self._market.add(listener)

    def leave(self, listener: Listener) -> None:
        """The opposite of ``enter`` and ``join``."""
        self._listeners.discard(listener)
        self._all.discard(listener)
        self._market.discard(listener)
        key = listener.selection.user_id.encode()
        own = self._by_key.get(key)
        if own is not None:
            own.discard(listener)
            if not own:
                del self._by_key[key]


def _nobody(_key: bytes | None) -> bool:
    return False

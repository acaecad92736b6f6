"""One reader of the tail: from where it stands, through history and the ring, into the live flow.

Whatever way a message comes, it comes once: the reader's vector of next offsets decides, and the
cursor of a message is that vector just after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from enum import Enum, auto
from operator import itemgetter
from typing import NamedTuple, TypeVar

from gateway.log import Place
from gateway.tail.cursor import Shape, varint
from gateway.tail.history import History
from gateway.tail.hub import Ending, Hub
from gateway.tail.kafka import LogChanged
from gateway.tail.message import Kept, Message
from gateway.tail.selection import Selection
from schemas.topics import JOURNEYS, partition_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Messages taken from the ring at once; their texts are shared, so this is only references.
RING_STEP = 500

#: Live messages that go out together when so many wait: one write of a reader that is behind costs
#: little more than one of a reader that is not. Their texts are at most so many bytes, or one text.
TOGETHER_MAX = 50
TOGETHER_BYTES_MAX = 128 * 1024


class Phase(Enum):
    """Where the messages come from."""

    HISTORY = auto()
    RING = auto()
    LIVE = auto()
    ENDED = auto()


class Frame(NamedTuple):
    """One message to the client."""

    kind: str
    cursor: str
    text: str


class Start(NamedTuple):
    """Where a reader begins: ``offsets`` None is the beginning; a place without one begins where
    the hub stood when the subscription was made."""

    offsets: Mapping[Place, int] | None


class Subscription:
    """Yields frames; the hub offers it live messages and may end it."""

    def __init__(
        self,
        hub: Hub,
        selection: Selection,
        shape: Shape,
        seal: Callable[[bytes], str],
        history: History,
    ) -> None:
        self.selection = selection
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[Ending] = self._loop.create_future()
        self.phase = Phase.HISTORY
        self._hub = hub
        self._shape = shape
        self._seal = seal
        self._history = history
        self._queue: deque[Message] = deque()
        self._queue_bytes = 0
        self._wake = asyncio.Event()
        self._numbers = [hub.numbers[place] for place in shape.places]
        self._of_hub = _picking(self._numbers)
        self._index = {place: index for index, place in enumerate(shape.places)}
        self._asked = {topic: selection.asked(topic) for topic in selection.topics}
        # The vector, as numbers and as cursors hold it.
        self._offsets = [hub.heads[number] for number in self._numbers]
        self._chunks = [varint(offset) for offset in self._offsets]
        # Places where history read further than the feed has.
        self._ahead: set[int] = set()
        self._is_whole = False
        self._is_at_head = False
        self._sent_chunks = list(self._chunks)
        self._heartbeat_at = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        hub.enter(self)

    # The hub's side ------------------------------------------------------------------------

    def offer(self, message: Message) -> None:
        """Queue a live message if it is selected and new; too many end the subscription."""
        index = self._index.get(message.place)
        if index is None or message.type not in self.selection.types:
            return
        if index in self._ahead and message.offset < self._offsets[index]:
            return
        settings = self._hub.settings
        self._queue.append(message)
        self._queue_bytes += message.size
        if (
            len(self._queue) > settings.queue_messages_max
            or self._queue_bytes > settings.queue_bytes_max
        ):
            self.end(Ending.SLOW)
        self._wake.set()

    def end(self, ending: Ending) -> None:
        """No more messages; what is queued is let go of at once."""
        if not self.over.done():
            self.over.set_result(ending)
            if ending is Ending.SLOW:
                self._hub.ended_slow += 1
        self.phase = Phase.ENDED
        self._queue.clear()
        self._queue_bytes = 0
        if self._alarm is not None:
            self._alarm.cancel()
        self._hub.leave(self)
        self._wake.set()

    # The client's side ---------------------------------------------------------------------

    def sent_payload(self) -> bytes:
        """The payload of the cursor after the last frame that the client was sent."""
        return self._shape.payload(self._sent_chunks)

    async def frames(self, start: Start) -> AsyncGenerator[list[Frame]]:
        """All frames, some together; asking for the next ones says that the last ones were sent.

        Ends when the subscription is ended.

        Raises:
            Unavailable: the log does not answer.
        """
        self._heartbeat_at = self._now() + self._hub.settings.heartbeat_seconds
        for source in (self._past(start), self._live()):
            async with aclosing(source):
                async for frames in source:
                    chunks = list(self._chunks)
                    yield frames
                    self._sent_chunks = chunks
                    if self.phase is Phase.ENDED:
                        return

    async def _past(self, start: Start) -> AsyncGenerator[list[Frame]]:
        is_covered = self._place(start)
        while self.phase is not Phase.ENDED:
            if not is_covered:
                self.phase = Phase.HISTORY
                async for frame in self._from_history():
                    yield [frame]
            # Closing the history's consumer took time, and sending did: the ring may have moved on
            # beneath this reader. Then it is history again.
            async for frame in self._from_ring():
                yield [frame]
            if self._is_at_head:
                return
            is_covered = False

    def _place(self, start: Start) -> bool:
        """Set the vector; whether the ring has everything from there on."""
        if start.offsets is None:
            self._is_whole = True
            self._offsets = [0] * len(self._offsets)
            self._chunks = [varint(0)] * len(self._chunks)
            self._sent_chunks = list(self._chunks)
            return False
        for place, offset in start.offsets.items():
            index = self._index.get(place)
            if index is not None:
                self._advance(index, offset, varint(offset))
        self._sent_chunks = list(self._chunks)
        return self._is_covered() and all(
            offset <= self._hub.heads[number]
            for offset, number in zip(self._offsets, self._numbers, strict=True)
        )

    async def _from_history(self) -> AsyncGenerator[Frame]:
        wanted = {
            place: None if self._is_whole else self._offsets[index]
            for place, index in self._index.items()
        }
        while not await self._slot():
            yield self._heartbeat()
        try:
            reading = self._history.read(wanted, self._own_places(), self.selection)
            async with aclosing(reading) as batches:
                async for batch in batches:
                    self._is_whole = False
                    for place, messages, end in batch:
                        index = self._index[place]
                        for message in messages:
                            self._advance(index, message.offset + 1, message.next_chunk)
                            if self._is_seen(message):
                                yield self._event(message)
                        self._advance(index, end, varint(end))
                    if self._now() >= self._heartbeat_at:
                        yield self._heartbeat()
                    if self._is_covered():
                        return
        except LogChanged as error:
            logger.info("a cursor of %s was refused: %s", self.selection.user_id, error)
            self.end(Ending.BAD_CURSOR)
        finally:
            self._hub.history_slots.release()

    async def _slot(self) -> bool:
        """Wait for a turn to read history, at most until a heartbeat is due."""
        try:
            async with asyncio.timeout(max(0.01, self._heartbeat_at - self._now())):
                await self._hub.history_slots.acquire()
        except TimeoutError:
            return False
        return True

    async def _from_ring(self) -> AsyncGenerator[Frame]:
        if self.phase is Phase.ENDED or not self._is_covered():
            return
        self.phase = Phase.RING
        sequence = self._hub.ring_first
        while self.phase is Phase.RING:
            first, kept = self._hub.ring(sequence, RING_STEP)
            if first > sequence:
                return
            if not kept:
                self._is_at_head = True
                return
            sequence = first + len(kept)
            due = [each for each in kept if self._is_due(each)]
            for message in self._hub.reader.read(due):
                index = self._index[message.place]
                self._advance(index, message.offset + 1, message.next_chunk)
                if self._is_seen(message):
                    yield self._event(message)
            if self._now() >= self._heartbeat_at:
                yield self._heartbeat()

    async def _live(self) -> AsyncGenerator[list[Frame]]:
        # From the last look at the ring to here nothing is awaited, so nothing is missed.
        if self.phase is Phase.ENDED:
            return
        self.phase = Phase.LIVE
        heads = self._hub.heads
        self._ahead = {
            index
            for index, number in enumerate(self._numbers)
            if self._offsets[index] > heads[number]
        }
        self._hub.join(self)
        self._catch_up()
        yield [Frame("live", *self._bare("live"))]
        self._set_alarm()
        while self.phase is Phase.LIVE:
            while self._queue:
                yield self._waiting()
                if self._now() >= self._heartbeat_at:
                    yield [self._live_heartbeat()]
            self._wake.clear()
            await self._wake.wait()
            if self._now() >= self._heartbeat_at and self.phase is Phase.LIVE:
                if not self._queue:
                    self._catch_up()
                yield [self._live_heartbeat()]

    def _waiting(self) -> list[Frame]:
        """Frames of the messages that wait, as many as may go out together."""
        frames: list[Frame] = []
        queue, size = self._queue, 0
        while queue and len(frames) < TOGETHER_MAX:
            if frames and size + queue[0].size > TOGETHER_BYTES_MAX:
                break
            message = queue.popleft()
            size += message.size
            self._advance(self._index[message.place], message.offset + 1, message.next_chunk)
            if not queue:
                self._catch_up()
            frames.append(self._event(message))
        self._queue_bytes -= size
        return frames

    def _live_heartbeat(self) -> Frame:
        frame = self._heartbeat()
        self._set_alarm()
        return frame

    def _set_alarm(self) -> None:
        """Wake when the next heartbeat is due, whether or not anything comes before."""
        if self.phase is Phase.LIVE:
            self._alarm = self._loop.call_at(self._heartbeat_at, self._wake.set)

    # ---------------------------------------------------------------------------------------

    def _is_due(self, kept: Kept) -> bool:
        """Whether it is new and, as far as its key tells, to be seen."""
        index = self._index.get(kept.place)
        if index is None or kept.offset < self._offsets[index]:
            return False
        return isinstance(kept, Message) or self._asked[kept.place[0]](kept.record.key)

    def _is_seen(self, message: Message) -> bool:
        selection = self.selection
        if message.type not in selection.types:
            return False
        if selection.sees_all or message.user_id == selection.user_id:
            return True
        if message.user_id is not None:
            return False
        if message.session is None:
            return True
        return self._hub.sessions.person(message.session) == selection.user_id

    def _own_places(self) -> list[Place]:
        if self.selection.sees_all:
            return []
        count = self._hub.partition_counts.get(JOURNEYS.name, 1)
        return [(JOURNEYS.name, partition_of(self.selection.user_id.encode(), count))]

    def _advance(self, index: int, offset: int, chunk: bytes) -> None:
        self._offsets[index] = offset
        self._chunks[index] = chunk

    def _catch_up(self) -> None:
        """Everything that the hub has had is sent or not for this reader: stand where it stands."""
        ahead = [
            (index, self._offsets[index], self._chunks[index])
            for index in self._ahead
            if self._hub.heads[self._numbers[index]] < self._offsets[index]
        ]
        self._offsets = self._of_hub(self._hub.heads)
        self._chunks = self._of_hub(self._hub.chunks)
        self._ahead = {index for index, _, _ in ahead}
        for place in ahead:
            self._advance(*place)

    def _is_covered(self) -> bool:
        floors = self._hub.floors
        return all(
            offset >= floors[number]
            for offset, number in zip(self._offsets, self._numbers, strict=True)
        )

    def _cursor(self) -> str:
        return self._seal(self._shape.payload(self._chunks))

    def _event(self, message: Message) -> Frame:
        self._hub.delivered += 1
        cursor = self._cursor()
        return Frame("event", cursor, f'{{"kind":"event","cursor":"{cursor}{message.tail}')

    def _bare(self, kind: str) -> tuple[str, str]:
        cursor = self._cursor()
        return cursor, f'{{"kind":"{kind}","cursor":"{cursor}"}}'

    def _heartbeat(self) -> Frame:
        self._heartbeat_at = self._now() + self._hub.settings.heartbeat_seconds
        return Frame("heartbeat", *self._bare("heartbeat"))

    def _now(self) -> float:
        return self._loop.time()


def _picking(numbers: list[int]) -> Callable[[Sequence[T]], list[T]]:
    """What takes the elements of these numbers out of a list, in this order."""
    if len(numbers) < 2:
        return lambda values: [values[number] for number in numbers]
    pick = itemgetter(*numbers)
    return lambda values: list(pick(values))

"""What the tail passes on: one event, as text that is made once for all readers.

Reading an event costs far more than looking at its record's key, and most events are of people who
do not listen. Such a record stays `Unread` until somebody comes who may see it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from gateway.log import Place
from gateway.tail.cursor import varint
from schemas import cloudevents
from schemas.codec import Unreadable, decode_batch
from schemas.envelope import Event
from schemas.topics import JOURNEYS

#: Sessions whose person is remembered.
SESSIONS_MAX = 100_000


class Message(msgspec.Struct, frozen=True, gc=False):
    """One event on its way to the readers."""

    place: Place
    offset: int
    #: The offset after it, as cursors hold it.
    next_chunk: bytes
    #: With the version that the log has.
    type: str
    #: Whose event it is; None for market data and journeys that nobody is known to be on.
    user_id: str | None
    #: Of a journey's step without a person.
    session: str | None
    #: The frame after its cursor: `","event":{…}}`.
    tail: str
    size: int


class Unread(msgspec.Struct, frozen=True, gc=False):
    """A record that nobody who may see it has asked for yet; perhaps it is no valid event."""

    place: Place
    offset: int
    record: Any

    @property
    def size(self) -> int:
        """All that it holds: anybody may write a record to the log, with a key of any size."""
        record = self.record
        parts = [record.key, record.value]
        for name, value in record.headers:
            parts += name, value
        return sum(len(part) for part in parts if part is not None)


Kept = Message | Unread

#: Whether somebody may see an event of this key.
Asked = Callable[[bytes | None], bool]


class Sessions:
    """Who is on which session, as far as this process has read of it."""

    def __init__(self) -> None:
        self._persons: OrderedDict[str, str] = OrderedDict()

    def learn(self, session: str, user_id: str) -> None:
        self._persons[session] = user_id
        self._persons.move_to_end(session)
        if len(self._persons) > SESSIONS_MAX:
            self._persons.popitem(last=False)

    def person(self, session: str) -> str | None:
        return self._persons.get(session)


class Reader:
    """Reads consumed records; ``partitions`` says how many each topic has."""

    def __init__(self, partitions: Mapping[str, int], tenant: str, sessions: Sessions) -> None:
        self._partitions = partitions
        self._tenant = tenant
        self._sessions = sessions

    def messages(self, records: Sequence[Any]) -> list[Message]:
        """In their order; what is no valid event is left out.

        Named steps teach the sessions on the way.
        """
        found = decode_batch(records, partitions=self._partitions, tenant=self._tenant)
        return [
            _message(record, event, self._sessions)
            for record, event in zip(records, found, strict=True)
            if not isinstance(event, Unreadable)
        ]

    def kept(self, place: Place, records: Sequence[Any], asked: Asked) -> list[Kept]:
        """The same of those that are asked for, between the others."""
        kept: list[Kept] = [*self.messages([each for each in records if asked(each.key)])]
        kept += [Unread(place, each.offset, each) for each in records if not asked(each.key)]
        kept.sort(key=attrgetter("offset"))
        return kept

    def read(self, kept: Sequence[Kept]) -> list[Message]:
        """What was kept, in its order, with what was unread."""
        unread = [each.record for each in kept if isinstance(each, Unread)]
        read = {(each.place, each.offset): each for each in self.messages(unread)}
        found = [
            each if isinstance(each, Message) else read.get((each.place, each.offset))
            for each in kept
        ]
        return [each for each in found if each is not None]


def _message(record: Any, event: Event, sessions: Sessions) -> Message:
    session: str | None = None
    if record.topic == JOURNEYS.name:
        if event.user_id is None:
            session = event.data.session
        else:
            sessions.learn(event.data.session, event.user_id)
    text = _text(record, event)
    return Message(
        place=(record.topic, record.partition),
        offset=record.offset,
        next_chunk=varint(record.offset + 1),
        type=f"{event.type}.v{event.wire_version}",
        user_id=event.user_id,
        session=session,
        tail=f'","event":{text}}}',
        size=len(text),
    )


def _text(record: Any, event: Event) -> str:
    if event.binary:
        document = cloudevents.kafka_document(event.raw, record.headers).value
        return msgspec.json.encode(document).decode()
    text = event.raw.decode()
    # Inside a JSON string a line break is escaped, so these stand between tokens. One message is
    # one line, as server-sent events need it.
    if "\n" in text or "\r" in text:
        text = text.replace("\r", " ").replace("\n", " ")
    return text

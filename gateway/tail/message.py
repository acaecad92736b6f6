"""What the tail passes on: one event, as text that is made once for all readers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
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


def messages_of(
    records: Iterable[Any], partitions: Mapping[str, int], tenant: str, sessions: Sessions
) -> list[Message]:
    """The messages of consumed records, in their order; what is no valid event is left out.

    Named steps teach ``sessions`` on the way.
    """
    kept = list(records)
    found = decode_batch(kept, partitions=partitions, tenant=tenant)
    return [
        _message(record, event, sessions)
        for record, event in zip(kept, found, strict=True)
        if not isinstance(event, Unreadable)
    ]


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

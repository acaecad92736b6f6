"""What can come of sending, named by what the caller should do.

InvalidDraft is the one error for events that are wrong themselves; then nothing of the call was
sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.errors import FieldError, InvalidEvent
from schemas.position import Position


class InvalidDraft(InvalidEvent):
    """An event is not valid; `errors` names the fields, `index` says which of the call it was.

    Nothing of the call was sent.
    """

    def __init__(self, index: int, errors: Iterable[FieldError]) -> None:
        super().__init__(errors)
        self.index = index


class ProducerError(Exception):
    """Events could not be sent, or it is not known whether they were.

    `positions` has the position of each event of the call that is in the log for certain, in
    the order of the call, and None for the others.
    """

    def __init__(self, message: str, positions: Sequence[Position | None] = ()) -> None:
        super().__init__(message)
        self.positions = tuple(positions)


class BrokerAway(ProducerError):
    """No broker answers at the address; nothing was sent."""

    def __init__(self, bootstrap: str, detail: str) -> None:
        super().__init__(
            f"no Kafka broker answers at {bootstrap} ({detail}): start it "
            "(on this machine: streams local up) or give its right address"
        )
        self.bootstrap = bootstrap


class TopicMissing(ProducerError):
    """A topic is not there: create all with `streams topics create`."""


class EventTooLarge(ProducerError):
    """The broker takes no record of that size; what else was in the call may be in the log."""


class NotAccepted(ProducerError):
    """The broker has refused events for good; sending them again as they are will not help."""


class DeliveryUnknown(ProducerError):
    """Not confirmed in time: the events may be in the log. Sending them again, with the same
    ids, is harmless and the thing to do."""

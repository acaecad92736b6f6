"""The producer for programs without an event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType

from confluent_kafka import Producer as Client

from schemas.envelope import Draft
from schemas.position import Position
from streams.producer.delivery import Batch, connect, encode_all, enqueue
from streams.producer.settings import ProducerSettings

POLL_SECONDS = 0.1
"""How long one look for delivery reports blocks when there are none."""


class SyncProducer:
    """Sends drafts and waits until the log has them. One thread at a time."""

    def __init__(self, settings: ProducerSettings) -> None:
        self._settings = settings
        self._client: Client | None = None
        self._open: deque[Batch] = deque()
        self._settled = 0

    def __enter__(self) -> SyncProducer:
        """Raises BrokerAway."""
        self._client = connect(self._settings)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            client, self._client = self._client, None
            if client is not None:
                client.purge()
                client.flush(POLL_SECONDS)

    def send(self, draft: Draft) -> Position:
        """One event, and where it is. Raises as `send_many`."""
        return self.send_many([draft])[0]

    def send_many(self, drafts: Sequence[Draft]) -> list[Position]:
        """Many events, in order; returns when all are in the log (acks=all).

        Raises InvalidDraft (nothing was sent), TopicMissing, EventTooLarge, NotAccepted, and
        DeliveryUnknown when the broker did not confirm all in time.
        """
        batch = self._post(drafts)
        self._open.remove(batch)
        while not batch.finished:
            self._required().poll(POLL_SECONDS)
        return batch.result(self._settings)

    def post(self, drafts: Sequence[Draft]) -> None:
        """Many events without waiting for the log; `flush` waits for it.

        Blocks only while the queue is full. Raises InvalidDraft, and as `send_many` when it
        has become known that an earlier call went wrong.
        """
        self._post(drafts)
        self._required().poll(0)
        while self._open and self._open[0].finished:
            self._settle(self._open.popleft())

    def flush(self) -> int:
        """Waits until everything posted is in the log; returns how many events have been so far.

        Raises as `send_many`, for the first posted call that went wrong.
        """
        while self._open:
            while not self._open[0].finished:
                self._required().poll(POLL_SECONDS)
            self._settle(self._open.popleft())
        return self._settled

    def _settle(self, batch: Batch) -> None:
        batch.check(self._settings)
        self._settled += len(batch)

    def _post(self, drafts: Sequence[Draft]) -> Batch:
        client = self._required()
        records = encode_all(drafts, self._settings.tenant)
        batch = Batch(records, _nobody)
        self._open.append(batch)
        queued = 0
        while queued < len(records):
            queued += enqueue(client, batch, records, queued)
            client.poll(0 if queued == len(records) else POLL_SECONDS)
        return batch

    def _required(self) -> Client:
        if self._client is None:
            raise RuntimeError("the producer is not open: use it in a with block")
        return self._client


def _nobody() -> None:
    """A synchronous caller looks for itself."""

"""The producer for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from threading import Event as Flag
from threading import Thread
from types import TracebackType

from confluent_kafka import Producer as Client

from schemas.codec import Encoded
from schemas.envelope import Draft
from schemas.position import Position
from streams.producer.delivery import ENCODED_AT_ONCE_MAX, Batch, connect, encode, enqueue
from streams.producer.errors import DeliveryUnknown
from streams.producer.settings import ProducerSettings

POLL_SECONDS = 0.1
"""How long one look for delivery reports blocks when there are none."""

GRACE_SECONDS = 5.0
"""librdkafka reports every event by its delivery timeout; this much later something is wrong."""


class Producer:
    """Sends drafts and waits until the log has them; any number of tasks may share one.

    One thread of it looks for delivery reports; it lives as long as the `async with` block.
    """

    def __init__(self, settings: ProducerSettings) -> None:
        self._settings = settings
        self._client: Client | None = None
        self._stop = Flag()
        self._thread: Thread | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> Producer:
        """Raises BrokerAway."""
        self._client = await asyncio.to_thread(connect, self._settings)
        self._stop.clear()
        self._thread = Thread(target=self._poll, name="producer-reports", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                await self.flush()
        finally:
            client, self._client = self._client, None
            if client is not None:
                client.purge()
            self._stop.set()
            if self._thread is not None:
                await asyncio.to_thread(self._thread.join)

    async def send(self, draft: Draft) -> Position:
        """One event, and where it is. Raises as `send_many`."""
        return (await self.send_many([draft]))[0]

    async def send_many(self, drafts: Sequence[Draft]) -> list[Position]:
        """Many events, in order; returns when all are in the log (acks=all).

        Raises InvalidDraft (nothing was sent), TopicMissing, EventTooLarge, NotAccepted, and
        DeliveryUnknown when the broker did not confirm all in time.
        """
        return await self.send_encoded(await self._encode(drafts))

    async def send_encoded(self, records: Sequence[Encoded]) -> list[Position]:
        """The same for events that `schemas.codec.judge` has found valid: they are not checked.

        Raises as `send_many`, but for InvalidDraft.
        """
        if not records:
            return []
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        batch = Batch(records, lambda: _tell(loop, done))
        self._waiting.add(done)
        try:
            await self._enqueue(batch, records)
            limit = self._settings.delivery_seconds_max + GRACE_SECONDS
            try:
                await asyncio.wait_for(done, limit)
            except TimeoutError:
                raise DeliveryUnknown(
                    f"no word of {len(records)} events after {limit:g} s; send them again with "
                    "the same ids, that is harmless",
                    batch.positions,
                ) from None
        finally:
            self._waiting.discard(done)
        return batch.result(self._settings)

    async def flush(self) -> None:
        """Returns when nothing that any task has sent is still on its way."""
        while self._waiting:
            await asyncio.wait(set(self._waiting))

    async def _encode(self, drafts: Sequence[Draft]) -> list[Encoded]:
        records: list[Encoded] = []
        for start in range(0, len(drafts), ENCODED_AT_ONCE_MAX):
            if start:
                await asyncio.sleep(0)
            part = drafts[start : start + ENCODED_AT_ONCE_MAX]
            records += encode(part, self._settings.tenant, start)
        return records

    async def _enqueue(self, batch: Batch, records: Sequence[Encoded]) -> None:
        client = self._required()
        queued = enqueue(client, batch, records, 0)
        while queued < len(records):
            # The queue is full: what is in it goes out first.
            await asyncio.to_thread(client.flush, POLL_SECONDS)
            queued += enqueue(client, batch, records, queued)

    def _poll(self) -> None:
        client = self._required()
        while not self._stop.is_set():
            client.poll(POLL_SECONDS)
        client.flush(POLL_SECONDS)

    def _required(self) -> Client:
        if self._client is None:
            raise RuntimeError("the producer is not open: use it in an async with block")
        return self._client


def _tell(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
    """From the thread that polls: the batch is complete."""

    def settle() -> None:
        if not done.done():
            done.set_result(None)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)

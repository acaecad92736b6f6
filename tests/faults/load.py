"""The load of a fault run: a bank's day, sent to the log whatever becomes of the broker."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

from confluent_kafka import KafkaException
from confluent_kafka import Producer as Client

from schemas.envelope import Draft, now
from streams.producer import BrokerAway, Producer, ProducerError, ProducerSettings
from tests.faults.banking import Bank, Raw
from tests.faults.commanding import People
from tests.faults.parts import Target

#: Events a second that keep a small machine busy and leave it room to catch up.
RATE_DEFAULT = 120.0

#: Seconds between two lots of events, and how far behind its rate the load may fall before it
#: forgets what it missed: a broker that comes back is not met by a flood.
LOT_SECONDS = 0.05
BEHIND_SECONDS_MAX = 1.0

#: Seconds until a delivery is given up, to be tried again with the same ids.
DELIVERY_SECONDS_MAX = 6.0
AGAIN_SECONDS = 0.25

#: Of lots: how many bring a record that no producer of ours makes.
FOREIGN_SHARE = 0.03


class BankingLoad:
    """Accounts, transfers, trades, prices, journeys, late and bad ones; see ``Bank``.

    ``rate`` is in events a second. An event whose delivery is unknown is sent again with the same
    id: in the log it may then stand twice, and must count once.
    """

    def __init__(self, target: Target, rate: float = RATE_DEFAULT) -> None:
        self.sent = 0
        #: Sends that had to be repeated.
        self.repeated = 0
        self._rate = rate
        self._bank = Bank(target.seed)
        self._chance = random.Random(f"load {target.seed}")
        self._people = People(target, self._bank.people)
        self._settings = ProducerSettings(
            target.kafka, client_id="faults-load", delivery_seconds_max=DELIVERY_SECONDS_MAX
        )
        self._producer: Producer | None = None

    @property
    def commands(self) -> int:
        """Commands over HTTP that were accepted."""
        return self._people.accepted

    async def prepare(self) -> None:
        """Open the accounts, then make rules and preferences."""
        try:
            await self._send(self._bank.openings(now()))
        finally:
            await self._close()
        await self._people.prepare()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until told to stop; what was begun by then is in the log when this returns."""
        people = asyncio.create_task(self._people.run(stop))
        try:
            await self._stream(stop)
        finally:
            if not stop.is_set():
                people.cancel()
            await self._close()
        await people

    async def _stream(self, stop: asyncio.Event) -> None:
        begun, count = time.monotonic(), 0
        while not stop.is_set():
            due = (time.monotonic() - begun) * self._rate
            if due - count > BEHIND_SECONDS_MAX * self._rate:
                begun, count = time.monotonic(), 0
                continue
            lot: list[Draft] = []
            while count + len(lot) < due:
                lot += self._bank.happening(now())
            if lot:
                await self._send(lot)
                count += len(lot)
            if self._chance.random() < FOREIGN_SHARE:
                await self._send_foreign(self._bank.foreign(now()))
            await asyncio.sleep(LOT_SECONDS)

    async def _send(self, drafts: Sequence[Draft]) -> None:
        while True:
            try:
                producer = await self._opened()
                await producer.send_many(drafts)
            except ProducerError as error:
                self.repeated += not isinstance(error, BrokerAway)
                await self._close(error)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self.sent += len(drafts)
                return

    async def _opened(self) -> Producer:
        if self._producer is None:
            producer = Producer(self._settings)
            await producer.__aenter__()
            self._producer = producer
        return self._producer

    async def _close(self, error: BaseException | None = None) -> None:
        """A producer whose delivery failed may be broken for good: the next one is new."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.__aexit__(type(error) if error else None, error, None)

    async def _send_foreign(self, raw: Raw) -> None:
        while True:
            if await asyncio.to_thread(_produced, self._settings.bootstrap, raw):
                return
            await asyncio.sleep(AGAIN_SECONDS)


def _produced(bootstrap: str, raw: Raw) -> bool:
    """Whether the record is in the log for certain; no producer of ours would take it."""
    outcomes: list[bool] = []
    try:
        client = Client(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "partitioner": "murmur2_random",
                "log_level": 0,
            }
        )
        client.produce(
            raw.topic,
            raw.value,
            raw.key,
            headers=list(raw.headers),
            on_delivery=lambda error, _: outcomes.append(error is None),
        )
        client.flush(DELIVERY_SECONDS_MAX)
        client.purge()
        client.flush(1.0)
    except KafkaException:
        return False
    return outcomes == [True]

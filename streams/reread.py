"""Reading a stretch of the log again, beside the consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiokafka
from aiokafka.errors import KafkaError

from projections.batch import Batch, Move
from projections.intake import Fetched, Intake
from projections.store import Unavailable
from schemas.fast import Record

#: Milliseconds that one fetch may wait for records.
FETCH_WAIT_MS = 200

#: Seconds after which a stretch that does not come to its end is given up. Where the log ends is
#: not asked: some brokers name too small an offset (see `ends`).
READ_SECONDS_MAX = 30.0


class Rereader:
    """Reads and judges what lies between two offsets, by a consumer that commits nothing."""

    def __init__(self, kafka: str, intake: Intake) -> None:
        self._kafka = kafka
        self._intake = intake

    async def __call__(self, move: Move) -> Sequence[Batch]:
        """One batch that covers exactly the range of the move.

        Raises:
            Unavailable: the broker does not answer, or the log does not reach so far.
        """
        place = aiokafka.TopicPartition(*move.place)
        try:
            records = await self._read(place, move.start, move.end)
        except (KafkaError, OSError) as error:
            raise Unavailable(f"reading {move.place} again: {error}") from error
        return await self._intake.read([Fetched(move.place, move.start, move.end, records)])

    async def _read(self, place: aiokafka.TopicPartition, start: int, end: int) -> list[Record]:
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self._kafka,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
        )
        try:
            await consumer.start()
            consumer.assign([place])
            consumer.seek(place, start)
            found: list[Record] = []
            async with asyncio.timeout(READ_SECONDS_MAX):
                while await consumer.position(place) < end:
                    batches = await consumer.getmany(place, timeout_ms=FETCH_WAIT_MS)
                    found += [record for record in batches.get(place, ()) if record.offset < end]
            return found
        except TimeoutError:
            raise Unavailable(f"the log does not reach from {start} to {end}") from None
        finally:
            await consumer.stop()

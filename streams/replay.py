"""Reading the log for a rebuild: without a group, commands first, as fast as it is folded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiokafka
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from projections.batch import Batch, Partition
from projections.intake import Fetched, Intake
from projections.log_identity import LogMismatch
from projections.rebuild import Positions, RebuildLost, commands_first
from projections.store import Unavailable
from schemas.records import Records
from streams import fetching
from streams.ends import true_end
from streams.topics import BrokerSilent, log_ends

#: Records and milliseconds of one fetch.
FETCH_RECORDS_MAX = 10_000
FETCH_WAIT_MS = 50
FETCH_BYTES_MAX = 4 << 20

#: Seconds without any record, though the log should have some, after which the broker is taken
#: to be away.
SILENCE_SECONDS_MAX = 30.0

#: How often the true end is asked for before the log counts as shorter: a slow broker may not
#: answer within one fetch.
END_QUESTIONS_MAX = 20


class Folding(Protocol):
    """Takes in what is read."""

    def reached(self) -> Positions:
        """Where the new tables stand."""

    async def give(self, batch: Batch) -> None:
        """Take in a batch; returns when there is room for more."""

    async def drained(self) -> None:
        """Return when everything that was given is committed."""


class KafkaLog:
    """The partitions of a projection's topics, read from the new tables' checkpoints on.

    ``cut`` True reads a log that was cut from its present beginning on.
    """

    def __init__(
        self,
        consumer: Any,
        kafka: str,
        places: Sequence[Partition],
        intake: Intake,
        into: Folding,
        cut: bool = False,
    ) -> None:
        self._cut = cut
        self._began = False
        self._consumer = consumer
        self._kafka = kafka
        self._places = places
        self._intake = intake
        self._into = into
        self._handed: dict[Partition, int] = dict(into.reached())

    async def ends(self, at_least: Positions) -> Positions:
        """Where the partitions end; exact where that matters to ``at_least`` (see `ends`).

        Raises:
            Unavailable: the broker does not answer.
        """
        try:
            # Not asked as a reader of committed records: while a transaction is open, Tansu then
            # answers that the partition is empty.
            found = await asyncio.to_thread(log_ends, self._kafka)
            ends = {place: found[place] for place in self._places}
            for place in ends.keys() & at_least.keys():
                for _ in range(END_QUESTIONS_MAX):
                    if at_least[place] <= ends[place]:
                        break
                    ends[place] = await true_end(self._kafka, place, ends[place])
            return ends
        except (BrokerSilent, KafkaError, OSError) as error:
            raise Unavailable(f"the log's ends: {error or type(error).__name__}") from error

    async def replay(self, target: Positions, reached: Callable[[Positions], None]) -> None:
        """Fold up to exactly these offsets, commands first; returns when all is committed.

        Raises:
            LogMismatch: the log has been cut at its beginning.
            Unavailable: the broker does not answer; it may be called again.
            RebuildLost: the log does not hold its beginning any more.
        """
        try:
            if not self._began:
                await self._skip_what_was_cut()
                self._began = True
            for stage in commands_first(self._places):
                await self._read({place: target[place] for place in stage}, reached)
                await self._into.drained()
                reached(self._into.reached())
        except OffsetOutOfRangeError as error:
            raise LogMismatch(
                f"the log at {self._kafka} does not have what the rebuild has to read next"
                f" ({error.args[0]}): from a log whose beginning is gone no read model can be made"
            ) from error
        except (KafkaError, OSError) as error:
            raise Unavailable(f"reading the log: {error or type(error).__name__}") from error

    async def _read(self, target: Positions, reached: Callable[[Positions], None]) -> None:
        clock = asyncio.get_running_loop().time
        last = clock()
        self._seek(target)
        while wanted := [place for place, end in target.items() if self._handed[place] < end]:
            records = await self._consumer.getmany(
                *map(_asked, wanted), timeout_ms=FETCH_WAIT_MS, max_records=FETCH_RECORDS_MAX
            )
            fetched = [part async for part in self._parts(wanted, target, records)]
            if fetched:
                last = clock()
                for batch in await self._intake.read(fetched):
                    await self._into.give(batch)
                reached(self._into.reached())
            elif clock() - last > SILENCE_SECONDS_MAX:
                place = wanted[0]
                raise Unavailable(f"nothing comes of {place.topic}:{place.partition}")

    async def _skip_what_was_cut(self) -> None:
        begins = await self._consumer.beginning_offsets([_asked(place) for place in self._places])
        for place in self._places:
            begin, start = begins[_asked(place)], self._handed[place]
            if start < begin:
                if not self._cut:
                    raise RebuildLost(
                        f"{place.topic}:{place.partition} begins at {begin}: a rebuild would lose"
                        " what came before, which the serving tables have. --from-cut-log makes"
                        " them of what is left"
                    )
                self._handed[place] = begin
                await self._into.give(Batch(*place, start, begin, []))

    def _seek(self, target: Positions) -> None:
        asked = [_asked(place) for place, end in target.items() if self._handed[place] < end]
        self._consumer.assign(asked)
        for place in asked:
            self._consumer.seek(place, self._handed[Partition(*place)])

    async def _parts(
        self, wanted: Sequence[Partition], target: Positions, records: Mapping[Any, Any]
    ) -> AsyncIterator[Fetched]:
        """What was fetched, cut where the serving tables stand."""
        for place in wanted:
            start, end = self._handed[place], target[place]
            position = await self._consumer.position(_asked(place))
            # The position may be beyond the last record: transaction markers take offsets, too.
            reached = min(position, end)
            if reached > start:
                found = records.get(_asked(place)) or Records(*place)
                self._handed[place] = reached
                if reached == end:
                    self._consumer.pause(_asked(place))
                yield Fetched(place, start, reached, found.between(start, reached))


def _asked(place: Partition) -> aiokafka.TopicPartition:
    return aiokafka.TopicPartition(*place)


@asynccontextmanager
async def reading_for(
    kafka: str, places: Sequence[Partition], intake: Intake, into: Folding, cut: bool = False
) -> AsyncIterator[KafkaLog]:
    """A log that is read into the new tables for as long as the block lasts.

    Raises:
        Unavailable: no broker answers.
    """
    fetching.install()
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=kafka,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    try:
        await consumer.start()
        yield KafkaLog(consumer, kafka, places, intake, into, cut)
    except (KafkaError, OSError) as error:
        raise Unavailable(f"no Kafka broker answers at {kafka}: {error}") from error
    finally:
        await consumer.stop()

"""Faust's transport, with whole partitions' worth of records as one message.

Stock Faust makes an event of every record, which costs some hundred microseconds each. Here each
fetch becomes one pseudo-record per partition, so that its cost is shared by all records of it.
Everything that leans on Faust's and aiokafka's internals is here, in ``fetching`` and in
``assignor``, written for the versions that pyproject.toml pins; ``tests/unit/test_transport.py``
and ``tests/integration/test_worker.py`` fail when they move.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import aiokafka
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from faust.transport.drivers import aiokafka as driver

from projections.batch import Batch, Partition
from projections.intake import Fetched
from projections.lane import COMMANDS
from projections.log_identity import LogMismatch, outside
from streams import fetching
from streams.assignor import SameNumberAssignor
from streams.backlog import Backlog
from streams.identity import spans

#: Milliseconds that the broker may hold a fetch that finds nothing. aiokafka keeps one fetch in
#: flight per broker, so partitions that are caught up hold up the others for as long.
FETCH_WAIT_MS = 20

#: The same once nothing has come for so many seconds: a worker at rest should cost next to nothing.
FETCH_WAIT_IDLE_MS = 100
IDLE_SECONDS = 1.0

#: Bytes of one fetch, as compressed, shared evenly by the partitions that are behind; none has less
#: than the least. A broker fills a fetch partition by partition, in an order that aiokafka draws by
#: lot: if a few could fill it, the others of a worker far behind would wait for minutes.
FETCH_BYTES_MAX = 4 << 20
FETCH_BYTES_LEAST = 64 << 10

#: Seconds after which a fetch for some of the partitions looks whether others have room again.
ROOM_SECONDS_MAX = 0.05


class Assignment(Protocol):
    """What the transport asks of the worker."""

    @property
    def kafka(self) -> str:
        """Bootstrap servers."""

    @property
    def furthest(self) -> Mapping[Partition, int]:
        """Where the foremost of the projections stood on each partition when it was taken."""

    async def check_log(self) -> None:
        """Raises LogMismatch unless the log is still the one that the checkpoints are of."""

    async def take(self, places: Sequence[Partition]) -> Mapping[Partition, int]:
        """Own these partitions and no others; returns the offsets to read from."""

    def claims(self, topic: str) -> int:
        """How many projections will release a batch of this topic."""

    def read(self, together: Round) -> None:
        """Begin to read what was fetched, after all that was fetched before it."""

    def applied(self) -> Mapping[Partition, int]:
        """Where the slowest projection stands on each owned partition."""

    def fail(self, error: BaseException) -> None:
        """Stop the worker with this error."""


@dataclass
class Round:
    """What one fetch brought, for all partitions; read once, for whoever waits for its batches."""

    generation: int
    fetched: list[Fetched] = field(default_factory=list)
    batches: asyncio.Future[list[Batch]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def count(self) -> int:
        """How many records."""
        return sum(len(part.records) for part in self.fetched)


@dataclass(frozen=True)
class Slice:
    """One partition's part of a round: the value of the one message that Faust sees."""

    round: Round
    number: int


class _PseudoRecord:
    """What ``Consumer._to_message`` reads of a record."""

    headers = ()
    key = None
    checksum = None
    timestamp_type = 0
    serialized_key_size = 0
    serialized_value_size = 0

    def __init__(self, place: Partition, offset: int, timestamp: int, value: Slice) -> None:
        self.topic, self.partition = place
        self.offset = offset
        self.timestamp = timestamp
        self.value = value


class _Thread(driver.AIOKafkaConsumerThread):
    """The thread that owns the aiokafka consumer."""

    _busy_at = 0.0

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = SameNumberAssignor
        fetching.install()
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[SameNumberAssignor],
            enable_auto_commit=False,
            # Where to read is said by the checkpoints alone. An offset that the log does not have
            # is an error, never a place to go on from.
            auto_offset_reset="none",
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=FETCH_BYTES_LEAST,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            isolation_level="read_committed",
        )

    async def _wakeup_timer_in_thread(self) -> None:
        await super()._wakeup_timer_in_thread()
        # Else a loop that was busy for seconds is logged as a thread that does not answer. The
        # watchdog tells those who are busy from those who stand still.
        self.last_wakeup_at = 0.0

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, timeout: Any = None, max_records: Any = None
    ) -> Any:
        records = await super()._fetch_records(
            consumer, active_partitions, timeout=timeout, max_records=max_records
        )
        self._set_pace(consumer, bool(records))
        positions = {tp: _position(consumer, tp) for tp in active_partitions}
        ends: dict[Partition, int] = {}
        if any(tp.topic != COMMANDS for tp in records):
            # Asked after the fetch: whatever command was answered before one of these events
            # was appended lies below this end.
            wanted = sorted(consumer.partitions_for_topic(COMMANDS) or ())
            asked = [aiokafka.TopicPartition(COMMANDS, number) for number in wanted]
            found = await consumer.end_offsets(asked) if asked else {}
            own = consumer.assignment()
            ends = {
                Partition(tp.topic, tp.partition): max(
                    end, (consumer.highwater(tp) or 0) if tp in own else 0
                )
                for tp, end in found.items()
            }
        return records, positions, ends

    def _set_pace(self, consumer: Any, busy: bool) -> None:
        """Let the next fetch wait for longer when there has been nothing for a while.

        While there is something, those that are behind share it.
        """
        now = asyncio.get_running_loop().time()
        fetcher = consumer._fetcher
        if busy:
            self._busy_at = now
            share = FETCH_BYTES_MAX // max(_count_behind(consumer), 1)
            fetcher._max_partition_fetch_bytes = max(share, FETCH_BYTES_LEAST)
        wait = FETCH_WAIT_IDLE_MS if now - self._busy_at > IDLE_SECONDS else FETCH_WAIT_MS
        fetcher._fetch_max_wait_ms = wait


def _count_behind(consumer: Any) -> int:
    """Partitions of which there may be more than was handed over, as far as fetches have told."""
    assignment = consumer._subscription.subscription.assignment
    if assignment is None:
        return 0
    states = [assignment.state_value(tp) for tp in assignment.tps]
    return sum(
        state.highwater is None or (state._position or 0) < state.highwater for state in states
    )


def _position(consumer: Any, tp: Any) -> int | None:
    assignment = consumer._subscription.subscription.assignment
    if assignment is None or tp not in assignment.tps:
        return None
    state = assignment.state_value(tp)
    position: int | None = state._position if state is not None else None
    return position


class BatchConsumer(driver.Consumer):
    """Hands over each partition's records as one message, and seeks to the checkpoints."""

    #: Set by ``transport_for``: who owns the partitions of this process.
    assignment_of_worker: ClassVar[Assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._backlog = Backlog()
        self._handed: dict[Partition, int] = {}
        self._generation_of_takes = 0
        self._seeking = asyncio.Lock()
        #: Whether records were dropped, so that positions are beyond what was handed over.
        self._astray = False

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Seek to the checkpoints; Kafka's committed offsets only serve lag displays.

        Another rebalance may ask before this one is through. Each take raises the fencing tokens,
        so that of two at once the one that ends last might keep the older token.
        """
        async with self._seeking:
            return await self._seek_to_checkpoints()

    async def _seek_to_checkpoints(self) -> Mapping[Any, int]:
        self._generation_of_takes += 1
        self._handed = {}
        # Faust drops what waits in its queues at a rebalance, and nobody would release it: what was
        # handed over before is counted no more, or its partitions had no room for ever.
        self._backlog = Backlog()
        places = [Partition(tp.topic, tp.partition) for tp in self.assignment()]
        try:
            await self.assignment_of_worker.check_log()
            offsets = await self.assignment_of_worker.take(places)
            await self._check_offsets(offsets)
            # One that stands beyond the end would pass by all that comes until there.
            await self._check_offsets(self.assignment_of_worker.furthest)
        except Exception as error:
            self.assignment_of_worker.fail(error)
            raise
        self._handed = dict(offsets)
        result = {}
        for tp in self.assignment():
            offset = offsets.get(Partition(tp.topic, tp.partition))
            # What was assigned meanwhile is taken by the next assignment, which is on its way.
            if offset is not None:
                await self._seek(tp, offset)
                result[tp] = offset
        return result

    async def _seek_to_handed(self) -> None:
        async with self._seeking:
            self._astray = False
            for tp in self.assignment():
                offset = self._handed.get(Partition(tp.topic, tp.partition))
                if offset is not None:
                    await self._seek(tp, offset)

    async def _check_offsets(self, offsets: Mapping[Partition, int]) -> None:
        """An offset outside the log means another log, or less of it: nothing may be guessed.

        Raises:
            LogMismatch: with the facts and the ways out.
        """
        consumer = self._thread._ensure_consumer()
        asked = [aiokafka.TopicPartition(*place) for place in offsets]
        begins = await self._thread.call_thread(consumer.beginning_offsets, asked)
        ends = await self._thread.call_thread(consumer.end_offsets, asked)
        kafka = self.assignment_of_worker.kafka
        if facts := outside(kafka, offsets, await spans(kafka, offsets, begins, ends)):
            raise LogMismatch(facts)

    async def _stop_unless_readable(self, offsets: Mapping[Any, int]) -> dict[Any, list[Any]]:
        try:
            await self._check_unreadable(offsets)
        except Exception as error:
            self.assignment_of_worker.fail(error)
            raise
        return {}

    async def _check_unreadable(self, offsets: Mapping[Any, int]) -> None:
        """The broker has no such offsets: the log was cut or made anew while it was read.

        What aiokafka asked for before the seek to the checkpoints is nobody's. A broker that has
        just come to lead a partition may know too small an end for a moment: asked again, it
        has the offset, and reading goes on where it was.

        Raises:
            LogMismatch: with the facts and the ways out.
        """
        asked = {Partition(*tp) for tp in offsets}
        await self.assignment_of_worker.check_log()
        await self._check_offsets({p: end for p, end in self._handed.items() if p in asked})

    @property
    def generation(self) -> int:
        """Raised at each assignment; a slice of an earlier one is stale."""
        return self._generation_of_takes

    def handed(self, place: Partition) -> int:
        """The offset up to which records of this assignment were handed over."""
        return self._handed.get(place, 0)

    def had_room(self, place: Partition, seconds: float) -> bool:
        """Whether its records might have been fetched at any time of the last ``seconds``."""
        return self._backlog.had_room(place, seconds)

    async def commit(self, *args: Any, **kwargs: Any) -> bool:
        """Publish where the slowest projection stands, for tools that show a group's lag."""
        applied = self.assignment_of_worker.applied()
        offsets = {tp: end for tp in self.assignment() if (end := applied.get(Partition(*tp)))}
        if offsets and self.flow_active:
            await self._thread.commit(offsets)
        return True

    async def verify_all_partitions_active(self) -> None:
        """Faust would watch its own commits and streams, which say nothing about ours."""

    async def _add_gap(self, *args: Any, **kwargs: Any) -> None:
        """Offsets of messages are ends of batches; what lies between them is no gap."""

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        backlog = self._backlog
        wanted = {tp for tp in active_partitions if backlog.asks_room(Partition(*tp))}
        if not wanted:
            await backlog.room(ROOM_SECONDS_MAX)
            return {}
        some = len(wanted) < len(active_partitions)
        if self._astray:
            await self._seek_to_handed()
        generation = self._generation_of_takes
        try:
            found = await self._thread.getmany(wanted, ROOM_SECONDS_MAX if some else timeout)
        except NoOffsetForPartitionError:
            # Asked before the seek to the checkpoints, which follows.
            return {}
        except OffsetOutOfRangeError as error:
            return await self._stop_unless_readable(error.args[0])
        if generation != self._generation_of_takes or not self.flow_active:
            # It overlapped a rebalance. Faust would seek to the checkpoints for it, and with them
            # take partitions that may be another's by now; here it is dropped (which `None` tells
            # Faust) and fetched again after the assignment.
            self._astray = True
            return None
        if not found:
            return {}
        records, positions, ends = found
        return self._as_messages(records, positions, ends)

    def _as_messages(self, records: Any, positions: Any, ends: Any) -> dict[Any, list[Any]]:
        together = Round(self._generation_of_takes)
        messages: dict[Any, list[Any]] = {}
        for tp, position in positions.items():
            place = Partition(*tp)
            found = records.get(tp, ())
            start = self._handed.get(place)
            if start is None:
                continue
            last = found[-1].offset + 1 if found else start
            # The position may be beyond the last record: transaction markers take offsets too.
            end = max(last, position or 0)
            if end <= start:
                continue
            claims = self.assignment_of_worker.claims(place.topic)
            release = self._backlog.claim(place, len(found), claims)
            part = Fetched(place, start, end, found, release, ends)
            together.fetched.append(part)
            self._handed[place] = end
            stamp = found[-1].timestamp if found else 0
            value = Slice(together, len(together.fetched) - 1)
            messages[tp] = [_PseudoRecord(place, end - 1, stamp, value)]
        if messages:
            self.assignment_of_worker.read(together)
        return messages


def transport_for(assignment: Assignment) -> type[driver.Transport]:
    """A Faust transport class whose consumers serve this worker."""
    consumer = type("WorkerConsumer", (BatchConsumer,), {"assignment_of_worker": assignment})
    return type("WorkerTransport", (driver.Transport,), {"Consumer": consumer})

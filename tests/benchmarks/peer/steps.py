"""Where the peer job's microseconds go: each step of the engine by itself, on one processor.

The steps are the product's own functions, called one after the other on slices of the job's log,
so that nothing overlaps; beside them the limit's transformation. What is missing here of a worker's
whole time (see the peer table) is Faust, the network, waking up, and threads that want one lock.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from projections.batch import Keyed, Partition
from projections.postgres import arrow, index, statements, store
from projections.postgres.migrate import migrate
from projections.postgres.pool import open_pool
from projections.rows import Rows
from schemas.codec import TENANT
from schemas.columns import Columns, decode_columns
from schemas.envelope import HEADERS
from schemas.records import Records
from streams import fetching
from tests.benchmarks.measure import figure
from tests.benchmarks.options import Options, options_of, parser
from tests.benchmarks.peer import events
from tests.benchmarks.peer.contestants.columns import transformed
from tests.benchmarks.peer.projection import Peer
from tests.benchmarks.report import Report
from tests.benchmarks.stand import stand

#: Events of a slice, as many as a fetch hands over; and of one of Kafka's record batches.
SLICE = 20_000
RECORD_BATCH = 500
LOGGED_MS = 1_770_000_000_000
READ_COMMITTED = 1

Micros = dict[str, float]


def main() -> None:
    """Print the table."""
    options = options_of(
        parser("The steps of the peer job, in microseconds an event.").parse_args()
    )
    report = Report()
    made = events.by_partition(events.made(options.scaled(events.EVENTS)))
    rounds = [_round(options, made) for _ in range(options.runs)]
    names = list(dict.fromkeys(name for each in rounds for name in each))
    report.table(
        f"CPU µs per event, {options.runs} rounds (processor of the caller, or of PostgreSQL)",
        ["step", "µs"],
        [[name, figure([each[name] for each in rounds])] for name in names],
    )


def _round(options: Options, made: list[list[bytes]]) -> Micros:
    with stand(kafka=options.kafka) as place, place.database() as database:
        return asyncio.run(_in_database(database, made))


async def _in_database(database: str, made: list[list[bytes]]) -> Micros:
    async with open_pool(database, size_max=1, name="steps") as pool:
        await migrate(pool)
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(Path(__file__).with_name("ours.sql").read_text())
        return await _measured(connection, made)
    finally:
        await connection.close()


async def _measured(connection: Any, made: list[list[bytes]]) -> Micros:
    backend = psutil.Process(await connection.fetchval("select pg_backend_pid()"))
    seconds: Micros = defaultdict(float)
    count, projection, habits = 0, Peer(), store.Habits()

    @contextmanager
    def step(name: str, server: str = "") -> Iterator[None]:
        here, there = time.process_time(), _seconds(backend)
        yield
        seconds[name] += time.process_time() - here
        if server:
            seconds[server] += _seconds(backend) - there

    for batches in _slices(made):
        with step("records of record batches"):
            records = _unpacked(*batches)
        with step("the limit's transformation (without records)"):
            transformed([value for value in records.values if value])
        with step("decoding with all checks"):
            columns = decode_columns(records, partitions=events.PARTITIONS, tenant=TENANT)
        assert columns is not None
        with step("keys of first positions"):
            firsts = _firsts(columns)
        assert firsts is not None
        with step("first positions: encode, send", "PostgreSQL: first positions"):
            async with connection.transaction():
                await arrow.copy(connection, "first_positions", firsts)
        rows = Rows()
        with step("fold"):
            projection.fold_columns(rows, columns)
            rows.accept()
        async with connection.transaction():
            with step("rows appended: encode, send", "PostgreSQL: rows appended"):
                await store._append(connection, rows.changes)
            with step("rows put and added: sort, encode"):
                needed = habits.whole("peer", list(store._statements("peer", rows.changes)))
            with step("rows put and added: send", "PostgreSQL: rows put and added"):
                sql, values = statements.combined(needed)
                await connection.execute(sql, *values)
        count += len(records)
    return {name: spent / count * 1e6 for name, spent in seconds.items()}


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _firsts(columns: Columns) -> Any:
    place = Partition(events.TOPIC, columns.partition)
    return index._sorted_rows([(1, Keyed(place, columns.offsets, columns.keys()))])


def _slices(made: list[list[bytes]]) -> Iterator[tuple[int, bytes, int]]:
    """For each slice its partition, its record batches and where it begins."""
    for partition, values in enumerate(made):
        for start in range(0, len(values), SLICE):
            yield partition, _record_batches(values[start : start + SLICE], start), start


def _record_batches(values: list[bytes], start: int) -> bytes:
    whole = []
    for first in range(0, len(values), RECORD_BATCH):
        built = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 30)
        for number, value in enumerate(values[first : first + RECORD_BATCH]):
            user = value.partition(b'"userid":"')[2].partition(b'"')[0]
            built.append(number, LOGGED_MS, user, value, HEADERS)
        batch = built.build()
        batch[:8] = (start + first).to_bytes(8, "big")
        whole.append(bytes(batch))
    return b"".join(whole)


def _unpacked(partition: int, batches: bytes, start: int) -> Records:
    place, records = TopicPartition(events.TOPIC, partition), MemoryRecords(batches)
    parts = fetching._Unpacked(place, records, [], start, None, None, True, READ_COMMITTED)
    return parts.take(None)


if __name__ == "__main__":
    main()

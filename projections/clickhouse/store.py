"""The ClickHouse store of appends: one block, one insert, one token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter

from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.insert import InsertContext
from clickhouse_connect.driver.transform import NativeTransform

from projections.analytics.append import AppendTable, Values
from projections.batch import Move, Partition
from projections.clickhouse.client import Client, translated
from projections.store import RowsRefused
from schemas.position import Position

#: What makes an insert one block whose repetition is dropped, whatever the server's defaults:
#: written before the answer, by one thread, not split or joined with others, remembered by its
#: token (in the targets of materialized views, too), over as many months as the rows have.
_INSERT_SETTINGS = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_insert_threads": 1,
    "max_insert_block_size": 4_000_000,
    "min_insert_block_size_rows": 4_000_000,
    "min_insert_block_size_bytes": 0,
    "max_partitions_per_insert_block": 0,
    # On a cluster the distributed table answers when the shards have it.
    "distributed_foreground_insert": 1,
}


_STATEMENT_END = b" FORMAT Native\n"


class ClickHouseStore:
    """Appends rows; see ``AppendStore`` for what it promises."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def encode(self, table: AppendTable, rows: Sequence[Values]) -> bytes:
        """ClickHouse's own columnar format, one block."""
        context = InsertContext(
            table.name,
            [column.name for column in table.columns],
            [get_from_name(column.type) for column in table.columns],
            # Column by column: transposing by zip walks all rows at once and costs five times that.
            [list(map(itemgetter(number), rows)) for number in range(len(table.columns))],
            column_oriented=True,
            compression=False,
        )
        context.block_row_count = len(rows)
        failures: list[Exception] = []
        block = b"".join(NativeTransform.build_insert(context, failures.append))
        if failures:
            raise RowsRefused(f"{table.name}: {failures[0]}") from failures[0]
        # The driver puts the statement before the first block; ``send`` has its own.
        return block.partition(_STATEMENT_END)[2]

    async def send(self, table: AppendTable, block: bytes, token: str) -> None:
        async with translated():
            await self._client.raw_insert(
                table.name,
                [column.name for column in table.columns],
                block,
                settings={**_INSERT_SETTINGS, "insert_deduplication_token": token},
                fmt="Native",
            )

    async def count(self, table: AppendTable, moves: Sequence[Move]) -> int:
        condition, topics = _in_ranges(moves)
        async with translated():
            result = await self._client.query(
                f"select count() from {table.name} where {condition}", topics
            )
        return int(result.result_rows[0][0])

    async def present(self, table: AppendTable, moves: Sequence[Move]) -> set[Position]:
        condition, topics = _in_ranges(moves)
        async with translated():
            result = await self._client.query(
                f"select topic, partition, offset from {table.name} where {condition}", topics
            )
        return {Position(*row) for row in result.result_rows}

    async def ahead(
        self, table: AppendTable, offsets: Mapping[Partition, int]
    ) -> Mapping[Partition, int]:
        # Of all partitions: a condition for each row would cost more than the group it saves.
        async with translated():
            result = await self._client.query(
                f"select topic, partition, max(offset) + 1 from {table.name}"
                " where log = 0 group by topic, partition"
            )
        ends = {Partition(topic, partition): end for topic, partition, end in result.result_rows}
        return {place: end for place, end in ends.items() if end > offsets.get(place, end)}


def _in_ranges(moves: Sequence[Move]) -> tuple[str, dict[str, str]]:
    """A condition on a row's place, and its parameters.

    Of the present log alone: those before it had offsets of their own. Each range has its own
    bounds, by which the index of offsets skips what is older; a look through arrays for each row
    took seconds over some million rows, and as many times that over more.
    """
    by_topic: dict[str, list[str]] = {}
    for move in moves:
        by_topic.setdefault(move.topic, []).append(
            f"partition = {move.partition} and offset >= {move.start} and offset < {move.end}"
        )
    topics = {f"topic{number}": topic for number, topic in enumerate(by_topic)}
    ranges = [
        f"topic = {{{name}:String}} and ({' or '.join(by_topic[topic])})"
        for name, topic in topics.items()
    ]
    return f"log = 0 and ({' or '.join(ranges) or 'false'})", topics

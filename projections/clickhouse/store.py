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


#: More than any offset.
_OFFSET_MAX = 2**63 - 1

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
        async with translated():
            result = await self._client.query(
                f"select count() from {table.name} where {_RANGES}", _arrays(moves)
            )
        return int(result.result_rows[0][0])

    async def present(self, table: AppendTable, moves: Sequence[Move]) -> set[Position]:
        async with translated():
            result = await self._client.query(
                f"select topic, partition, offset from {table.name} where {_RANGES}",
                _arrays(moves),
            )
        return {Position(*row) for row in result.result_rows}

    async def ahead(
        self, table: AppendTable, offsets: Mapping[Partition, int]
    ) -> Mapping[Partition, int]:
        # As ranges without an end.
        beyond = [Move(*place, offset, _OFFSET_MAX, 0) for place, offset in offsets.items()]
        async with translated():
            result = await self._client.query(
                f"select topic, partition, max(offset) + 1 from {table.name}"
                f" where {_RANGES} group by topic, partition",
                _arrays(beyond),
            )
        return {Partition(topic, partition): end for topic, partition, end in result.result_rows}


#: Of the present log alone: those before it had offsets of their own. The bounds of the offsets
#: let the index skip the parts of other times.
_RANGES = """
log = 0 and offset >= arrayMin({starts:Array(UInt64)}) and offset < arrayMax({ends:Array(UInt64)})
and arrayExists(
    (t, p, s, e) -> topic = t and partition = p and offset >= s and offset < e,
    {topics:Array(String)}, {partitions:Array(UInt16)}, {starts:Array(UInt64)}, {ends:Array(UInt64)}
)
"""


def _arrays(moves: Sequence[Move]) -> dict[str, list[str] | list[int]]:
    return {
        "topics": [move.topic for move in moves],
        "partitions": [move.partition for move in moves],
        "starts": [move.start for move in moves],
        "ends": [move.end for move in moves],
    }

"""Rows of a log that is given up, in ClickHouse: kept, and told apart from those of the next."""

from __future__ import annotations

from collections.abc import Mapping

from projections.analytics.tables import TABLES
from projections.batch import Partition
from projections.clickhouse.client import Client, translated
from projections.clickhouse.migrate import Migration

#: A mutation is done when it is answered, on all replicas.
_AT_ONCE = {"mutations_sync": 2}

#: Tables that have a row for each position, and so can hold those of several logs.
_PLACED = tuple(table.name for table in TABLES if not table.merges)


async def retire(
    client: Client,
    numbers: Mapping[str, int],
    appended: Mapping[Partition, int],
    cluster: str | None = None,
) -> None:
    """Give the rows of topics the number of their log, and undo flushes that were left open.

    Doing it again before the new log is read changes nothing.

    Args:
        client: connected to the database.
        numbers: by topic, what its log is called from now on.
        appended: rows of these partitions at or beyond the offset are deleted.
        cluster: its name, if the tables are replicated and distributed.

    Raises:
        Unavailable: the server does not answer; some of it may be done.
    """
    for name in _PLACED:
        for place, offset in sorted(appended.items()):
            await _mutate(
                client,
                f"alter table @table({name}) delete where log = 0 and topic = {{topic:String}}"
                " and partition = {partition:UInt16} and offset >= {offset:UInt64}",
                {"topic": place.topic, "partition": place.partition, "offset": offset},
                cluster,
            )
        for topic, number in sorted(numbers.items()):
            await _mutate(
                client,
                f"alter table @table({name}) update log = {{number:UInt16}}"
                " where log = 0 and topic = {topic:String}",
                {"topic": topic, "number": number},
                cluster,
            )


async def _mutate(
    client: Client, sql: str, values: Mapping[str, object], cluster: str | None
) -> None:
    (statement,) = Migration("", sql).statements(cluster)
    async with translated():
        await client.command(statement, parameters=dict(values), settings=_AT_ONCE)

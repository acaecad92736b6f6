"""What a system must hold, told again from its log, whatever was done to it meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

import asyncpg
import clickhouse_connect

from projections.catalog import row_projections
from schemas.codec import RawRecord
from schemas.envelope import idempotency_key
from tests import recomputed
from tests.e2e.system import System, event_of
from tests.recomputed import Refolded


def refolded_all(log: Sequence[RawRecord]) -> dict[str, Refolded]:
    """What each row projection makes of the log, by its name."""
    return {
        projection.name: asyncio.run(recomputed.refolded(projection, log))
        for projection in row_projections()
    }


def assert_tables(system: System, told: Mapping[str, Refolded]) -> None:
    """Every table of PostgreSQL has the rows that a refold makes."""

    async def compare() -> None:
        connection = await asyncpg.connect(system.stack.postgres)
        try:
            for projection in row_projections():
                store = told[projection.name].store
                for table in projection.tables:
                    found = await recomputed.rows_of(connection, table)
                    wanted = {table.key_of(row): row for row in store.table(table)}
                    assert found == wanted, (projection.name, table.name)
        finally:
            await connection.close()

    asyncio.run(compare())


def assert_first_positions(system: System, log: Sequence[RawRecord]) -> None:
    """The index has each (source, id) of the log where it stands first, and nothing else."""
    first: dict[bytes, tuple[str, int, int]] = {}
    for record in log:
        event = event_of(record)
        key = idempotency_key(event["source"], event["id"])
        first.setdefault(key, (record.topic, record.partition, record.offset))
    rows = system.ask(
        'select f.key, t.name, f.partition, f."offset" from first_positions f'
        " join log_topics t on t.no = f.topic"
    )
    assert {row[0].bytes: (row[1], row[2], row[3]) for row in rows} == first


def assert_clickhouse(system: System, log: Sequence[RawRecord]) -> None:
    """Every event once, and each fact once in its own table, without FINAL."""
    with clickhouse_connect.get_client(dsn=system.stack.clickhouse) as client:
        rows = client.query("select topic, partition, offset, id from events").result_rows
        assert Counter(rows) == Counter(
            (r.topic, r.partition, r.offset, event_of(r)["id"]) for r in log
        )
        for table, kind in (
            ("transactions", "bfc.transaction.posted.v1"),
            ("trades", "vyomo.trade.executed.v1"),
            ("prices", "market.price.ticked.v1"),
        ):
            wanted = Counter(
                (r.topic, r.partition, r.offset) for r in log if event_of(r)["type"] == kind
            )
            found = client.query(f"select topic, partition, offset from {table}").result_rows
            assert Counter(found) == wanted, table


def assert_money(system: System, log: Sequence[RawRecord]) -> None:
    """The sums of money in ClickHouse are those of the postings in the log."""
    wanted: dict[tuple[str, str], Decimal] = {}
    for record in log:
        event = event_of(record)
        if event["type"] == "bfc.transaction.posted.v1":
            data = event["data"]
            key = (data["currency"], data["direction"])
            wanted[key] = wanted.get(key, Decimal(0)) + Decimal(data["amount"])
    with clickhouse_connect.get_client(dsn=system.stack.clickhouse) as client:
        rows = client.query(
            "select currency, direction, sum(amount) from transactions group by 1, 2"
        ).result_rows
    assert {(currency, direction): total for currency, direction, total in rows} == wanted

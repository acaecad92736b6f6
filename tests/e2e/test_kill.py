"""SIGKILL in the middle of fifty thousand events: afterwards every table is what the log says."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import clickhouse_connect
import pytest

from projections.catalog import row_projections
from projections.tables import Table
from schemas.codec import RawRecord
from schemas.envelope import idempotency_key
from schemas.topics import TOPICS
from tests import recomputed
from tests.e2e.conftest import send_simulation
from tests.e2e.system import System, await_true, event_of, whole_system

#: Sending and folding the history is the fixture's, and a slow machine takes minutes for it.
pytestmark = pytest.mark.timeout(900)

KILLS = 3
EVENTS_MIN = 50_000


@pytest.fixture(scope="module")
def survived(system_folder: Path) -> Any:
    """A system whose worker was killed again and again while a history was sent."""
    with whole_system(system_folder / "killed") as system:
        sent: list[int] = []

        def send() -> None:
            sent.append(send_simulation(system, people=150, months=6))

        sender = threading.Thread(target=send)
        sender.start()
        for number in range(1, KILLS + 1):
            await_true(lambda n=number: applied(system) > n * 9_000, "the worker stands still")
            system.kill_worker()
            system.start_worker()
        sender.join()
        assert sent[0] >= EVENTS_MIN
        system.rest()
        yield system


def applied(system: System) -> int:
    """Events that the analytics projection has behind it."""

    async def ask() -> int:
        connection = await asyncpg.connect(system.stack.postgres)
        try:
            total = await connection.fetchval("select sum(next_offset) from checkpoints")
            return int(total or 0)
        finally:
            await connection.close()

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def log(survived: System) -> list[RawRecord]:
    return [record for record in survived.log() if record.topic != "dead-letters"]


def test_every_table_of_postgres_is_what_the_log_says(
    survived: System, log: list[RawRecord]
) -> None:
    for projection in row_projections():
        expected = asyncio.run(recomputed.refolded(projection, log))
        for table in projection.tables:
            found = asyncio.run(rows_of(survived, table))
            wanted = {table.key_of(row): row for row in expected.store.table(table)}
            assert found == wanted, (projection.name, table.name)


async def rows_of(system: System, table: Table[Any]) -> dict[Any, Any]:
    connection = await asyncpg.connect(system.stack.postgres)
    try:
        return await recomputed.rows_of(connection, table)
    finally:
        await connection.close()


def test_first_positions_are_those_of_the_log(survived: System, log: list[RawRecord]) -> None:
    first: dict[bytes, tuple[str, int, int]] = {}
    for record in log:
        event = event_of(record)
        key = idempotency_key(event["source"], event["id"])
        first.setdefault(key, (record.topic, record.partition, record.offset))

    async def ask() -> dict[bytes, tuple[str, int, int]]:
        connection = await asyncpg.connect(survived.stack.postgres)
        try:
            rows = await connection.fetch(
                'select f.key, t.name, f.partition, f."offset" from first_positions f'
                " join log_topics t on t.no = f.topic"
            )
        finally:
            await connection.close()
        return {row[0].bytes: (row[1], row[2], row[3]) for row in rows}

    assert asyncio.run(ask()) == first


def test_clickhouse_has_every_event_once_without_final(
    survived: System, log: list[RawRecord]
) -> None:
    with clickhouse_connect.get_client(dsn=survived.stack.clickhouse) as client:
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


def test_money_adds_up_in_clickhouse(survived: System, log: list[RawRecord]) -> None:
    wanted: dict[tuple[str, str], Decimal] = {}
    for record in log:
        event = event_of(record)
        if event["type"] == "bfc.transaction.posted.v1":
            data = event["data"]
            key = (data["currency"], data["direction"])
            wanted[key] = wanted.get(key, Decimal(0)) + Decimal(data["amount"])
    with clickhouse_connect.get_client(dsn=survived.stack.clickhouse) as client:
        rows = client.query(
            "select currency, direction, sum(amount) from transactions group by 1, 2"
        ).result_rows
    assert {(currency, direction): total for currency, direction, total in rows} == wanted


def test_derived_topics_hold_what_the_log_says(survived: System, log: list[RawRecord]) -> None:
    """No derived event is missing or made up.

    The broker in memory shows the records of aborted transactions, too, so that a relay killed in
    the middle of one leaves them in the topic a second time; that each is there once is shown on
    Apache Kafka (`tests/integration/test_relay.py`).
    """
    ids = {event_of(record)["id"] for record in log if TOPICS[record.topic].derived}
    expected: set[str] = set()
    for projection in row_projections():
        again = asyncio.run(recomputed.refolded(projection, log))
        expected |= {made.id for made in again.store.derived}
    assert ids
    assert expected == ids

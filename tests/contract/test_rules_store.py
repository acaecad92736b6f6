"""Rules in memory and in Postgres: the same rows, and the views that people see of them."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest

from projections.postgres import statements
from projections.postgres.index import PostgresIndex
from projections.postgres.pool import acquire
from projections.postgres.store import PostgresStore
from projections.rules.definition import parse
from projections.rules.tables import EXECUTIONS, TABLES
from projections.rules.view import foreign_accounts, get_rule, list_executions, list_rules
from projections.tables import Table, Want
from schemas.errors import Invalid
from schemas.instants import rfc3339
from schemas.topics import TOPICS
from tests.builders import at, draft, opened, posted, tick
from tests.rules_histories import history
from tests.rules_log import SAVE_A_FIFTH, Folding, Log, live, refold, rule_with, shuffled

ALICE, BOB = "usr_17", "usr_18"


async def folding_in(pool: Any) -> Folding:
    index = await PostgresIndex.open(pool, list(TOPICS))
    return Folding(PostgresStore(pool), index)


async def rows_of(connection: Any, table: Table[Any]) -> list[Any]:
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    records = await connection.fetch(f"select {columns} from {table.name}")
    return sorted((statements.row_of(table, record) for record in records), key=table.key_of)


@pytest.mark.parametrize("seed", [1, 2])
async def test_memory_and_postgres_hold_the_same(pool: Any, seed: int) -> None:
    chance, log = Random(seed), Log()
    memory = await live(log, history(chance, 60))
    await refold(shuffled(log, chance), await folding_in(pool))
    async with acquire(pool) as connection:
        for table in TABLES:
            assert await rows_of(connection, table) == memory.table(table), table.name
        owed = await connection.fetch("select identity from outbox where topic <> 'dead-letters'")
    assert sorted(row["identity"] for row in owed) == sorted(made.id for made in memory.derived)


async def a_log_in(pool: Any, *steps: Any) -> tuple[Log, Any]:
    log = Log()
    memory = await live(log, steps)
    await refold([[event] for event in log.events], await folding_in(pool))
    return log, memory


async def test_a_rule_is_shown_as_it_was_posted(pool: Any) -> None:
    log, _ = await a_log_in(
        pool,
        lambda log: log.define("r1", SAVE_A_FIFTH),
        lambda log: log.define("r1", {**SAVE_A_FIFTH, "status": "paused"}),
        lambda log: log.define("r2", SAVE_A_FIFTH),
        lambda log: log.define("r3", SAVE_A_FIFTH),
        lambda log: log.delete("r3"),
        lambda log: log.define("r1", SAVE_A_FIFTH, user=BOB),
    )
    created, changed = (rfc3339(log.events[number].time) for number in (0, 1))
    async with acquire(pool) as connection:
        shown = await get_rule(connection, ALICE, "r1")
        assert shown == {
            **SAVE_A_FIFTH,
            "status": "paused",
            "id": "r1",
            "version": 2,
            "createdAt": created,
            "updatedAt": changed,
        }
        assert parse(shown) == {**SAVE_A_FIFTH, "status": "paused"}
        assert await get_rule(connection, ALICE, "r3") is None
        first = await list_rules(connection, ALICE, limit=1)
        second = await list_rules(connection, ALICE, limit=1, cursor=first["next"])
        assert [rule["id"] for rule in first["items"]] == ["r2"]
        assert second == {"items": [shown], "next": None}
        with pytest.raises(Invalid):
            await list_rules(connection, ALICE, limit=1, cursor="bm90IG91cnM")


async def test_executions_are_listed_with_the_shape_of_the_contract(pool: Any) -> None:
    salary = posted("45000.55", account="acc_9f2", category="salary", time=at(0), id="pay-1")
    small = posted("5000.00", account="acc_9f2", category="salary", time=at(60), id="pay-2")
    paused = {**SAVE_A_FIFTH, "status": "paused"}
    again = posted("6000.00", account="acc_9f2", category="salary", time=at(120), id="pay-3")
    _, memory = await a_log_in(
        pool,
        lambda log: log.define("r1", SAVE_A_FIFTH),
        salary,
        small,
        lambda log: log.define("r1", paused),
        again,
        lambda log: log.delete("r1"),
    )
    ids = {row.event: str(row.execution) for row in memory.table(EXECUTIONS)}
    async with acquire(pool) as connection:
        page = await list_executions(connection, ALICE, rule_id="r1", limit=2)
        rest = await list_executions(connection, ALICE, limit=2, cursor=page["next"])
        assert await list_executions(connection, BOB, limit=2) == {"items": [], "next": None}
        skipped = await list_executions(connection, ALICE, outcome="skipped", limit=9)
        with pytest.raises(Invalid):
            await list_executions(connection, ALICE, outcome="maybe", limit=9)
    assert [item["event"] for item in page["items"]] == ["pay-3", "pay-2"]
    assert skipped["items"] == page["items"][:1]
    assert skipped["items"][0]["reason"] == "paused"
    assert rest["next"] is None
    (item,) = rest["items"]
    transfer, notify = item["actions"]
    assert item == {
        "id": ids["pay-1"],
        "ruleId": "r1",
        "ruleVersion": 1,
        "event": "pay-1",
        "time": rfc3339(at(0)),
        "outcome": "triggered",
        "reason": None,
        "actions": [transfer, notify],
    }
    assert transfer.pop("action") and notify.pop("action")
    assert transfer == {
        "type": "transfer",
        "status": "requested",
        "from": "acc_9f2",
        "to": "acc_sav",
        "percentage": "20",
        "amount": {"amount": "9000.11", "currency": "INR"},
    }
    assert notify == {
        "type": "notify",
        "status": "requested",
        "priority": "medium",
        "message": "Saved ₹9,000.11",
    }


async def test_only_accounts_of_somebody_else_are_foreign(pool: Any) -> None:
    trading = {"account": "vy_bob", "kind": "trading", "currency": "USD", "name": "T"}
    await a_log_in(
        pool,
        opened("acc_alice", user=ALICE),
        opened("acc_bob", user=BOB),
        opened("acc_both", user=ALICE),
        opened("acc_both", user=BOB),
        posted(account="acc_unopened", user=BOB),
        draft("vyomo.account.opened", {**trading, "institution": "V", "country": "US"}, user=BOB),
    )
    transfers = [
        {"type": "transfer", "from": account, "to": "acc_bob", "percentage": "1"}
        for account in ("acc_alice", "acc_bob", "acc_both", "acc_unopened", "acc_new")
    ]
    close = {"type": "close_position", "account": "vy_bob", "symbol": "AAPL"}
    transfers[1]["to"] = "x"
    trigger = {"type": "balance", "account": "acc_bob", "below": "0"}
    definition = rule_with(trigger, actions=[*transfers, close])
    async with acquire(pool) as connection:
        errors = await foreign_accounts(connection, ALICE, definition)
    assert [error.path for error in errors] == [
        "trigger.account",
        "actions.1.from",
        "actions.3.from",
        "actions.5.account",
    ]


async def test_a_tick_reads_the_lines_it_crosses_by_the_index(pool: Any) -> None:
    """A symbol with many lines, of which none is crossed, costs as little as one without."""
    trigger = {"type": "market_condition", "symbol": "AAPL", "below": "10"}
    await a_log_in(pool, lambda log: log.define("r1", rule_with(trigger)), tick("AAPL", "12"))
    async with acquire(pool) as connection:
        await connection.execute(
            "insert into rule_lines select symbol, 1000 + n, user_id || n, rule_id, version,"
            ' waits_above, conditions, "begin", until'
            " from rule_lines, generate_series(1, 20000) n"
        )
        await connection.execute("analyze rule_lines")
        sql = statements.load_sql(_lines(), 1, True, True)
        wants = [Want(_lines(), ("AAPL",), Decimal(9), Decimal(12))]
        arrays = statements.arrays_of_wants(_lines(), 1, wants, True, True)
        plan = await connection.fetch(f"explain (analyze, buffers off) {sql}", *arrays)
    text = "\n".join(row[0] for row in plan)
    assert "Seq Scan on rule_lines" not in text
    assert "line <= w.high" in text.split("Index Cond")[1].splitlines()[0], text


def _lines() -> Table[Any]:
    return next(table for table in TABLES if table.name == "rule_lines")


async def test_the_columns_are_those_of_the_rows(pool: Any) -> None:
    async with acquire(pool) as connection:
        for table in TABLES:
            records = await connection.fetch(
                "select column_name, data_type, is_nullable from information_schema.columns"
                " where table_name = $1 order by ordinal_position",
                table.name,
            )
            found = {record["column_name"]: record["data_type"] for record in records}
            wanted = {
                column.name: _SQL_NAMES.get(column.sql_type, column.sql_type)
                for column in table.columns
            }
            assert list(found.items()) == list(wanted.items()), table.name


_SQL_NAMES = {"timestamptz": "timestamp with time zone"}

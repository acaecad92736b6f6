"""Harm that is done on purpose to a system at rest, to see whether the verdict names it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec

from schemas.codec import RawRecord


class Harm(NamedTuple):
    """A statement, and what the verdict must say after it."""

    sql: str
    said: str


def _any_of(table: str) -> str:
    return f"ctid = (select min(ctid) from {table})"


TABLES = (
    Harm(
        "update balances set amount = amount + 0.01 where account = 'acc_05'",
        "balances usr_05/bfc/acc_05/INR: amount expected",
    ),
    Harm(
        f"update balance_days set amount = amount + 0.01 where {_any_of('balance_days')}",
        "balance_days ",
    ),
    Harm(f"delete from positions where {_any_of('positions')}", "positions usr_"),
    Harm(
        "insert into prices select 'GHOST', day, price, currency, time, log_offset"
        " from prices limit 1",
        "prices GHOST/",
    ),
    Harm(f"delete from rule_executions where {_any_of('rule_executions')}", "rule_executions usr_"),
    Harm(
        f"update notifications set count = count + 1 where {_any_of('notifications')}",
        "count expected",
    ),
    Harm(f"delete from first_positions where {_any_of('first_positions')}", "first_positions "),
    Harm(f"delete from dead_letters where {_any_of('dead_letters')}", "dead_letters "),
    Harm(
        "update checkpoints set next_offset = next_offset + 3"
        " where (projection, topic, partition) = ('net_worth', 'market.fx', 0)",
        "checkpoints net_worth/market.fx/0: ",
    ),
    Harm(
        "insert into timers values"
        " ('notifications', 'usr_05', 'ghost', now() + interval '9 days', '{}')",
        "timers notifications/usr_05/ghost: the log says nothing",
    ),
)


def _one_of(table: str) -> str:
    place = "(topic, partition, offset)"
    return f"{place} = (select {place} from {table} limit 1)"


COLUMNS = (
    Harm(f"alter table trades delete where {_one_of('trades')}", "clickhouse trades vyomo.ledger/"),
    Harm("insert into prices select * from prices limit 1", "is there 2 times"),
    Harm(
        f"alter table transactions update amount = amount + 1 where {_one_of('transactions')}",
        "clickhouse transactions bfc.ledger/",
    ),
    Harm(
        f"alter table events update id = 'nobody' where {_one_of('events')}",
        "found 'nobody'",
    ),
    Harm(
        "alter table sessions delete where session in (select session from sessions limit 1)",
        "sessions sess_",
    ),
)


async def plant_tables(connection: Any) -> None:
    """Do all of ``TABLES``."""
    for harm in TABLES:
        status = await connection.execute(harm.sql)
        assert not status.endswith(" 0"), f"nothing is planted by {harm.sql}"


def plant_columns(client: Any) -> None:
    """Do all of ``COLUMNS``."""
    for harm in COLUMNS:
        client.command(harm.sql, settings={"mutations_sync": 2})


async def owe_again(connection: Any, record: RawRecord, id: str | None = None) -> str:
    """Have the relay publish a derived event of the log once more, or another one like it."""
    event = json.loads(record.value or b"{}")
    event["id"] = id or event["id"]
    await connection.execute(
        "insert into outbox (identity, topic, key, value, header_names, header_values)"
        " values ($1, $2, $3, $4, $5, $6)",
        event["id"],
        record.topic,
        record.key,
        msgspec.json.encode(event),
        [name for name, _ in record.headers],
        [value for _, value in record.headers],
    )
    await connection.execute("select pg_notify('outbox', '')")
    return str(event["id"])

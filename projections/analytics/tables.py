"""The tables of `projections/clickhouse/migrations` as values, in the order of their columns.

A test compares them with what the migrations made.
"""

from __future__ import annotations

from projections.analytics.append import AppendTable, Column, Values
from schemas.position import Position

_TIME = "DateTime64(3, 'UTC')"
_MONEY = "Decimal(38, 18)"
_WORD = "LowCardinality(String)"
_FIRST_NAMED = f"Tuple(time {_TIME}, topic String, partition UInt16, offset UInt64, user_id String)"

_PLACE = f"topic {_WORD}|partition UInt16|offset UInt64"


def _columns(text: str) -> tuple[Column, ...]:
    return tuple(Column(*part.strip().split(" ", 1)) for part in text.split("|"))


EVENTS = AppendTable(
    "events",
    _columns(
        f"{_PLACE}|id String|source {_WORD}|type {_WORD}|name {_WORD}|is_first Bool"
        f"|subject String|user_id String|tenant_id {_WORD}|time {_TIME}|ingested_at {_TIME}"
        "|correlation_id String|causation_id String|data String"
    ),
)

TRANSACTIONS = AppendTable(
    "transactions",
    _columns(
        f"{_PLACE}|time {_TIME}|user_id String|transaction String|account String"
        f"|direction {_WORD}|amount {_MONEY}|signed_amount {_MONEY}|currency {_WORD}"
        f"|status {_WORD}|balance_after Nullable({_MONEY})|category {_WORD}|merchant String"
        f"|mcc {_WORD}|counterparty String|description String|transfer String|reverses String"
        "|value_date Nullable(Date32)"
    ),
)

TRADES = AppendTable(
    "trades",
    _columns(
        f"{_PLACE}|time {_TIME}|user_id String|trade String|order_id String|account String"
        f"|symbol String|instrument {_WORD}|side {_WORD}|quantity {_MONEY}|price {_MONEY}"
        f"|currency {_WORD}|fee {_MONEY}"
    ),
)

PRICES = AppendTable(
    "prices",
    _columns(f"{_PLACE}|time {_TIME}|symbol String|price {_MONEY}|currency {_WORD}|venue {_WORD}"),
)

NET_WORTH_DAILY = AppendTable(
    "net_worth_daily",
    _columns(
        f"{_PLACE}|time {_TIME}|user_id String|day Date32|currency {_WORD}|net_worth {_MONEY}"
        f"|assets {_MONEY}|liabilities {_MONEY}|by_category Map({_WORD}, {_MONEY})"
    ),
)

JOURNEY_STEPS = AppendTable(
    "journey_steps",
    _columns(
        f"{_PLACE}|time {_TIME}|name {_WORD}|user_id String|session String|action {_WORD}"
        f"|page String|platform {_WORD}|feature {_WORD}|experiment {_WORD}|variant {_WORD}"
        "|properties String"
    ),
)


def _named_at(row: Values) -> Position:
    _, (_, topic, partition, offset, _) = row
    return Position(topic, partition, offset)


SESSIONS = AppendTable(
    "sessions",
    (
        Column("session", "String"),
        Column("first_named", f"SimpleAggregateFunction(min, {_FIRST_NAMED})"),
    ),
    merges=True,
    place=_named_at,
)

#: In the order in which a flush sends them.
TABLES = (EVENTS, TRANSACTIONS, TRADES, PRICES, NET_WORTH_DAILY, JOURNEY_STEPS, SESSIONS)

"""What an event becomes in ClickHouse: pure, one case per type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from projections.analytics.append import AppendTable, Values
from projections.analytics.tables import (
    JOURNEY_STEPS,
    NET_WORTH_DAILY,
    PRICES,
    SESSIONS,
    TRADES,
    TRANSACTIONS,
)
from projections.funnels.actions import JOURNEY, action_of
from projections.rows import Refused
from schemas.envelope import Event
from schemas.events.bank import TransactionPosted
from schemas.events.derived import SnapshotTaken
from schemas.events.journey import StepRecorded
from schemas.events.market import PriceTicked
from schemas.events.trading import TradeExecuted

TableRow = tuple[AppendTable, Values]

_ZERO = Decimal(0)

#: The days of a Date32.
FIRST_DAY = date(1900, 1, 1)
LAST_DAY = date(2299, 12, 31)


class _Document(msgspec.Struct):
    data: msgspec.Raw


_decode_document = msgspec.json.Decoder(_Document).decode


def event_row(event: Event, is_first: bool) -> Values:
    """The row of ``events``, which every event has, repetitions included."""
    topic, partition, offset = event.position
    data = event.raw if event.binary else _decode_document(event.raw).data
    return (
        topic,
        partition,
        offset,
        event.id,
        event.source,
        f"{event.type}.v{event.wire_version}",
        event.type,
        is_first,
        event.subject or "",
        event.user_id or "",
        event.tenant_id,
        event.time,
        event.ingested_at,
        event.correlation_id or "",
        event.causation_id or "",
        str(data, "utf-8"),
    )


def typed_rows(event: Event) -> Sequence[TableRow]:
    """The rows of the other tables, for an event that takes effect.

    Like ``event_row`` it depends on nothing but the event: after a crash the same rows are made
    again.
    """
    typed = _TYPED.get(event.type)
    action = action_of(event)
    if action is None:
        return () if typed is None else typed(event)
    topic, partition, offset = event.position
    user_id = event.user_id or ""
    head = (topic, partition, offset, event.time, event.type, user_id, "", action)
    step = (JOURNEY_STEPS, head + _BLANK)
    return (step,) if typed is None else (*typed(event), step)


#: page, platform, feature, experiment, variant and properties of a step that is a domain event.
_BLANK = ("", "", "", "", "", "{}")


def _transaction(event: Event) -> Sequence[TableRow]:
    data: TransactionPosted = event.data
    topic, partition, offset = event.position
    signed = data.amount if data.direction == "credit" else data.amount.copy_negate()
    return (
        (
            TRANSACTIONS,
            (
                topic,
                partition,
                offset,
                event.time,
                event.user_id or "",
                data.transaction,
                data.account,
                data.direction,
                data.amount,
                signed,
                data.currency,
                data.status,
                data.balance_after,
                data.category or "",
                data.merchant or "",
                data.mcc or "",
                data.counterparty or "",
                data.description or "",
                data.transfer or "",
                data.reverses or "",
                _day("data.valueDate", data.value_date),
            ),
        ),
    )


def _trade(event: Event) -> Sequence[TableRow]:
    data: TradeExecuted = event.data
    topic, partition, offset = event.position
    return (
        (
            TRADES,
            (
                topic,
                partition,
                offset,
                event.time,
                event.user_id or "",
                data.trade,
                data.order or "",
                data.account,
                data.symbol,
                data.instrument,
                data.side,
                data.quantity,
                data.price,
                data.currency,
                _ZERO if data.fee is None else data.fee,
            ),
        ),
    )


def _price(event: Event) -> Sequence[TableRow]:
    data: PriceTicked = event.data
    topic, partition, offset = event.position
    head = (topic, partition, offset, event.time)
    return ((PRICES, (*head, data.symbol, data.price, data.currency, data.venue or "")),)


def _snapshot(event: Event) -> Sequence[TableRow]:
    data: SnapshotTaken = event.data
    topic, partition, offset = event.position
    return (
        (
            NET_WORTH_DAILY,
            (
                topic,
                partition,
                offset,
                event.time,
                event.user_id or "",
                data.day,
                data.currency,
                data.net_worth,
                data.assets,
                data.liabilities,
                dict(data.by_category),
            ),
        ),
    )


def _step(event: Event) -> Sequence[TableRow]:
    data: StepRecorded = event.data
    topic, partition, offset = event.position
    user_id = event.user_id or ""
    step = (
        JOURNEY_STEPS,
        (
            topic,
            partition,
            offset,
            event.time,
            JOURNEY,
            user_id,
            data.session,
            data.action,
            data.page or "",
            data.platform,
            data.feature or "",
            data.experiment or "",
            data.variant or "",
            _json(data.properties),
        ),
    )
    if not user_id:
        return (step,)
    return step, (SESSIONS, (data.session, (event.time, topic, partition, offset, user_id)))


def _day(path: str, day: date | None) -> date | None:
    """The day, if the columns have it: others would be stored as another one, without a word."""
    if day is not None and not FIRST_DAY <= day <= LAST_DAY:
        raise Refused(
            path, f"{day} is not between {FIRST_DAY} and {LAST_DAY}, as ClickHouse has it"
        )
    return day


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode() if value else "{}"


_TYPED: dict[str, Callable[[Event], Sequence[TableRow]]] = {
    "bfc.transaction.posted": _transaction,
    "vyomo.trade.executed": _trade,
    "market.price.ticked": _price,
    "wealth.snapshot.taken": _snapshot,
    JOURNEY: _step,
}

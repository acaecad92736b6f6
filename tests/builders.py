"""Drafts, records and events for tests, in one line each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from schemas.codec import RawRecord, Unreadable, decode_batch, encode
from schemas.envelope import HEADERS, Draft, Event, key_of, topic_of
from schemas.instants import instant, milliseconds
from schemas.limits import partitions_embedded
from schemas.topics import partition_of

#: A moment that tests count from.
T0 = datetime(2026, 2, 12, 9, 30, tzinfo=UTC)

_SOURCES = {"bfc": "/bfc/core-banking", "vyomo": "/vyomo/exchange", "market": "/market/feed"}
_ids = count(1)


def at(seconds: float = 0, *, days: float = 0) -> datetime:
    """T0 plus so much."""
    return T0 + timedelta(days=days, seconds=seconds)


def draft(
    type: str,
    data: Any = None,
    /,
    *,
    user: str | None = "usr_17",
    time: datetime | str | None = None,
    id: str | None = None,
    source: str | None = None,
    **rest: Any,
) -> Draft:
    """A draft of that type (`.v1` is added if there is no version); ids are counted up."""
    name = type if type.rpartition(".v")[2].isdigit() else f"{type}.v1"
    return Draft(
        type=name,
        source=source or _SOURCES.get(name.split(".")[0], "/tests"),
        data=data if data is not None else {},
        time=instant(time) if isinstance(time, str) else time or T0,
        user_id=None if name.startswith("market.") else user,
        id=id or f"evt-{next(_ids):08d}",
        **rest,
    )


def opened(account: str = "acc_1", currency: str = "INR", **rest: Any) -> Draft:
    """`bfc.account.opened`; `rest` are further data fields (camelCase) or draft arguments."""
    data = {"account": account, "kind": "savings", "currency": currency, "name": "Everyday"}
    return _with("bfc.account.opened", {**data, "institution": "BFC", "country": "IN"}, rest)


def posted(
    amount: str = "100.00",
    direction: str = "credit",
    account: str = "acc_1",
    currency: str = "INR",
    **rest: Any,
) -> Draft:
    """`bfc.transaction.posted`."""
    data = {
        "transaction": f"txn_{next(_ids)}",
        "account": account,
        "direction": direction,
        "amount": amount,
        "currency": currency,
        "status": "posted",
    }
    return _with("bfc.transaction.posted", data, rest)


def trade(
    quantity: str = "10",
    price: str = "150",
    side: str = "buy",
    symbol: str = "AAPL",
    account: str = "vy_1",
    currency: str = "USD",
    **rest: Any,
) -> Draft:
    """`vyomo.trade.executed`."""
    data = {
        "trade": f"trd_{next(_ids)}",
        "account": account,
        "symbol": symbol,
        "instrument": "equity",
        "side": side,
        "quantity": quantity,
        "price": price,
        "currency": currency,
    }
    return _with("vyomo.trade.executed", data, rest)


def tick(symbol: str = "AAPL", price: str = "187.20", currency: str = "USD", **rest: Any) -> Draft:
    """`market.price.ticked`."""
    return _with(
        "market.price.ticked", {"symbol": symbol, "price": price, "currency": currency}, rest
    )


def fixing(base: str = "USD", quote: str = "INR", rate: str = "83.10", **rest: Any) -> Draft:
    """`market.fx.fixed`."""
    data = {"base": base, "quote": quote, "rate": rate, "source": "ECB"}
    return _with("market.fx.fixed", data, rest)


def step(action: str, session: str = "sess_1", platform: str = "web", **rest: Any) -> Draft:
    """`journey.step.recorded`."""
    data = {"session": session, "action": action, "platform": platform, "properties": {}}
    return _with("journey.step.recorded", data, rest)


_DRAFT_ARGUMENTS = frozenset(
    {"user", "time", "id", "source", "subject", "sequence", "correlation_id", "causation_id"}
)


def _with(type: str, data: dict[str, Any], rest: Mapping[str, Any]) -> Draft:
    arguments = {name: value for name, value in rest.items() if name in _DRAFT_ARGUMENTS}
    data = data | {name: value for name, value in rest.items() if name not in _DRAFT_ARGUMENTS}
    return draft(type, data, **arguments)


def record_of(
    made: Draft,
    offset: int = 0,
    *,
    partitions: int = partitions_embedded,
    partition: int | None = None,
    ingested: datetime | None = None,
) -> RawRecord:
    """The record of a draft as our producer writes it; ingested when it happened, if not given."""
    key = key_of(made)
    return RawRecord(
        topic=topic_of(made).name,
        partition=partition_of(key, partitions) if partition is None else partition,
        offset=offset,
        key=key,
        value=encode(made),
        headers=list(HEADERS),
        timestamp=milliseconds(ingested or made.time),
    )


def records_of(
    drafts: Iterable[Draft],
    *,
    partitions: int = partitions_embedded,
    start: Mapping[tuple[str, int], int] | None = None,
) -> list[RawRecord]:
    """The records of drafts appended in this order; `start` is each partition's first offset.

    Ingestion time never runs backwards: it is the latest event time so far.
    """
    ends = dict(start or {})
    ingested: datetime | None = None
    records = []
    for made in drafts:
        ingested = made.time if ingested is None else max(ingested, made.time)
        record = record_of(made, partitions=partitions, ingested=ingested)
        place = (record.topic, record.partition)
        offset = ends.get(place, 0)
        ends[place] = offset + 1
        records.append(record._replace(offset=offset))
    return records


def events_of(
    drafts: Iterable[Draft],
    *,
    partitions: int = partitions_embedded,
    start: Mapping[tuple[str, int], int] | None = None,
) -> list[Event]:
    """The decoded events of drafts appended in this order; fails if one is not valid."""
    records = records_of(drafts, partitions=partitions, start=start)
    topics = {record.topic: partitions for record in records}
    events = []
    for decoded in decode_batch(records, partitions=topics):
        assert not isinstance(decoded, Unreadable), decoded.reason
        events.append(decoded)
    return events


def event_of(made: Draft, *, partitions: int = partitions_embedded) -> Event:
    """The decoded event of one draft, at offset 0."""
    return events_of([made], partitions=partitions)[0]

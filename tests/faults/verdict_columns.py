"""ClickHouse against the log, without FINAL: every row of every table, and the sums of money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from projections.analytics.append import AppendTable, Values
from projections.analytics.gather import Gathered, gather
from projections.analytics.tables import SESSIONS, TABLES
from projections.batch import Batch
from schemas.position import Position
from tests.faults.told import Told, capped, compared

POSTED = "bfc.transaction.posted.v1"


def gathered(told: Told) -> Gathered:
    """The rows and dead letters that analytics must make of a log."""
    whole = Gathered()
    refused: set[UUID] = set()
    for place, events in sorted(told.places.items()):
        repeated = told.repeated(place)
        for event in events:
            offset = event.position.offset
            batch = Batch(*place, offset, offset + 1, [event], repeated)
            part = gather(batch, refused=refused)
            refused |= {letter.event_key for letter in part.letters if letter.event_key}
            refused -= set(part.resolved)
            whole.add(part)
    return whole


def column_differences(told: Told, expected: Gathered, client: Any) -> Iterator[str]:
    """Line by line; ``client`` is one of clickhouse-connect."""
    for table in TABLES:
        rows = expected.rows.get(table, [])
        if table is SESSIONS:
            yield from compared(table.name, _least(rows), _sessions(client))
        else:
            yield from _rows(table, rows, client)
    yield from compared("sums of transactions", _sums(told), _found_sums(client))


def _rows(table: AppendTable, expected: list[Values], client: Any) -> Iterator[str]:
    names = [column.name for column in table.columns]
    # Not `FINAL`, and each row as often as it is there.
    result = client.query(f"select {', '.join(names)} from {table.name}").result_rows
    found: dict[Position, dict[str, Any]] = {}
    twice: dict[Position, int] = {}
    for row in result:
        place = table.place(row)
        twice[place] = twice.get(place, 0) + 1
        found[place] = _members(names, row)
    wanted = {table.place(row): _members(names, row) for row in expected}
    what = f"clickhouse {table.name}"
    yield from compared(what, wanted, found)
    yield from capped(
        what,
        (f"{what} {place}: is there {count} times" for place, count in twice.items() if count > 1),
    )


def _members(names: list[str], row: Values) -> dict[str, Any]:
    return {name: _plain(value) for name, value in zip(names, row, strict=True)}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    if isinstance(value, Mapping):
        return dict(value)
    return value


def _least(rows: list[Values]) -> dict[str, Any]:
    least: dict[str, Any] = {}
    for session, named in rows:
        least[session] = min(named, least.get(session, named))
    return least


def _sessions(client: Any) -> dict[str, Any]:
    rows = client.query(
        "select session, tupleElement(n, 'time'), tupleElement(n, 'topic'),"
        " tupleElement(n, 'partition'), tupleElement(n, 'offset'), tupleElement(n, 'user_id')"
        " from (select session, min(first_named) as n from sessions group by session)"
    ).result_rows
    return {row[0]: (_plain(row[1]), *row[2:]) for row in rows}


def _sums(told: Told) -> dict[tuple[str, str], Decimal]:
    """Postings by currency and direction, by any JSON reader."""
    sums: dict[tuple[str, str], Decimal] = {}
    seen = set()
    for document in told.documents.values():
        key = (document["source"], document["id"])
        if document["type"] == POSTED and key not in seen:
            seen.add(key)
            data = document["data"]
            pair = (data["currency"], data["direction"])
            sums[pair] = sums.get(pair, Decimal(0)) + Decimal(data["amount"])
    return sums


def _found_sums(client: Any) -> dict[tuple[str, str], Decimal]:
    rows = client.query(
        "select currency, direction, sum(amount) from transactions group by 1, 2"
    ).result_rows
    return {(currency, direction): total for currency, direction, total in rows}

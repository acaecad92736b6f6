"""What becomes columns, with which values; and each check by a slice that only it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from schemas.codec import TENANT, RawRecord, decode_batch
from schemas.columns import SAMPLES, Columns, decode_columns, is_columnar
from schemas.envelope import HEADERS, Draft, Event, document_of
from schemas.instants import milliseconds
from schemas.registry import TYPES
from schemas.topics import partition_of
from tests.builders import T0, at, draft, fixing, opened, posted, record_of, step, tick, trade

PARTITIONS = 6


def columns_of(
    records: Sequence[RawRecord], partitions: int | None = PARTITIONS, tenant: str = TENANT
) -> Columns | None:
    return decode_columns(records, partitions=partitions, tenant=tenant)


def table_of(*made: Draft) -> pa.Table:
    columns = columns_of([record_of(each, offset) for offset, each in enumerate(made)])
    assert columns is not None
    return columns.table


def with_text(old: str, new: str, made: Draft | None = None) -> RawRecord:
    record = record_of(made or posted())
    assert record.value is not None and record.value.count(old.encode()) == 1, old
    return record._replace(value=record.value.replace(old.encode(), new.encode()))


def with_members(made: Draft | None = None, /, **members: Any) -> RawRecord:
    """The record with other members, of the data if they are among its fields."""
    made = made or posted()
    document = document_of(made, TENANT)
    for name, value in members.items():
        where = document if name in document or name in ATTRIBUTES else document["data"]
        where[name] = value
    return record_of(made)._replace(value=msgspec.json.encode(document))


ATTRIBUTES = ("subject", "sequence", "correlationid", "causationid", "traceparent", "extension")

SPLIT = draft(
    "vyomo.split.applied", {"account": "vy_1", "symbol": "X", "numerator": 3, "denominator": 1}
)
HOLDING = draft(
    "vyomo.account.opened",
    {
        "account": "vy_1",
        "kind": "trading",
        "currency": "USD",
        "name": "n",
        "institution": "i",
        "country": "US",
        "holdsCash": True,
    },
)


def test_values_have_the_types_of_the_fields() -> None:
    table = table_of(
        posted("45000.00", valueDate="2026-02-12", subject="acc_1", sequence="7", id="one"),
        posted("1.125", direction="debit", balanceAfter="-5", time=at(1), id="two"),
    )
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == ["one", "two"]
    assert [row["offset"] for row in rows] == [0, 1]
    assert [row["user_id"] for row in rows] == ["usr_17", "usr_17"]
    assert [row["subject"] for row in rows] == ["acc_1", None]
    assert [row["time"].astimezone(UTC) for row in rows] == [T0, at(1)]
    assert [row["amount"] for row in rows] == [Decimal(45000), Decimal("1.125")]
    assert [row["balance_after"] for row in rows] == [None, Decimal(-5)]
    assert [row["value_date"] for row in rows] == [date(2026, 2, 12), None]
    types = {field.name: field.type for field in table.schema}
    assert types["time"] == pa.timestamp("ms", "UTC")
    assert types["amount"] == pa.decimal128(38, 3)
    assert types["balance_after"] == pa.decimal128(38, 0)
    assert types["merchant"] == pa.string() and types["value_date"] == pa.date32()


def test_the_largest_decimals_fit() -> None:
    largest = "9" * 20 + "." + "9" * 18
    table = table_of(posted(largest), posted("0.000000000000000001"))
    assert table["amount"].to_pylist() == [Decimal(largest), Decimal("1e-18")]


def test_integers_booleans_and_defaults() -> None:
    without = draft(
        HOLDING.type, {name: value for name, value in HOLDING.data.items() if name != "holdsCash"}
    )
    assert table_of(HOLDING, without)["holds_cash"].to_pylist() == [True, False]
    table = table_of(SPLIT)
    assert (table["numerator"].type, table["numerator"][0].as_py()) == (pa.int64(), 3)


def test_prices_have_no_person() -> None:
    table = table_of(tick(), tick(price="0"))
    assert table["user_id"].to_pylist() == [None, None]
    assert table["price"].to_pylist() == [Decimal("187.20"), Decimal(0)]


def test_what_may_differ_without_harm() -> None:
    for record in (
        record_of(posted())._replace(headers=[]),
        record_of(posted())._replace(headers=[("content-type", b"application/cloudevents+json")]),
        with_text('"amount":', '"amount" :\n'),
        with_text('"datacontenttype":"application/json",', ""),
        with_text('"tenantid":"bfc",', ""),
    ):
        assert columns_of([record, record]) is not None


def test_members_that_few_events_have_are_found_and_checked() -> None:
    rare = SAMPLES + 1
    records = [GOOD._replace(offset=offset) for offset in range(4 * SAMPLES)]
    for members, expected in (({"subject": "s"}, "s"), ({"extension": "x"}, None)):
        records[rare] = with_members(**members)._replace(offset=rare)
        columns = columns_of(records)
        assert (columns and columns.table["subject"][rare].as_py()) == expected


def test_records_of_any_kind_are_read() -> None:
    record = SimpleNamespace(**GOOD._asdict())
    assert decode_columns([record], partitions=PARTITIONS, tenant=TENANT) is not None


def test_columnar_types() -> None:
    def columnar(made: Draft) -> bool:
        return is_columnar(TYPES[made.type])

    assert all(map(columnar, (posted(), opened(), trade(), tick(), SPLIT)))
    # An object in the data; a field that is named as a column of the envelope is.
    assert not any(map(columnar, (step("signup"), fixing())))
    assert not is_columnar(TYPES["bfc.kyc.submitted.v1"])


def test_times_up_to_a_day_ahead_are_taken() -> None:
    ingested = milliseconds(T0)
    for record, taken in (
        (record_of(posted(time=at(days=1)), ingested=T0), True),
        (record_of(posted(time=at(0.001, days=1)), ingested=T0), False),
    ):
        assert record.timestamp == ingested
        assert (columns_of([record]) is not None) is taken


def _split_over_two() -> list[RawRecord]:
    """One and a half event, and the other half: as many rows as records."""
    record = record_of(posted())
    value = record.value or b""
    cut = value.index(b'{"transaction"')
    return [record._replace(value=value + value[:cut]), record._replace(value=value[cut:])]


GOOD = record_of(posted())
LONG = "x" * 129
OTHER_KEY = next(
    f"usr_{n}" for n in range(99) if partition_of(f"usr_{n}".encode(), PARTITIONS) == GOOD.partition
)

REFUSED: dict[str, list[RawRecord]] = {
    "no records": [],
    "no value": [GOOD, GOOD._replace(value=None)],
    "an empty value": [GOOD, GOOD._replace(value=b"")],
    "null, on which Arrow's parser fails": [GOOD._replace(value=b"null"), GOOD],
    "null after an event": [GOOD, GOOD._replace(value=(GOOD.value or b"") + b"null")],
    "two events in one": [GOOD._replace(value=(GOOD.value or b"") * 2)],
    "events cut elsewhere": _split_over_two(),
    "a deep array": [GOOD._replace(value=b'{"type":' + b"[" * 3000 + b"]" * 3000 + b"}")],
    "a long value": [with_text('"specversion"', " " * 4_000 + '"specversion"')],
    "a blank before it": [GOOD._replace(value=b" " + (GOOD.value or b""))],
    "an escape": [with_text('"account":"acc_1"', '"account":"acc\\u005f1"')],
    "no ASCII": [with_text('"account":"acc_1"', '"account":"acc_é"')],
    "DEL": [with_text('"account":"acc_1"', '"account":"acc_\x7f"')],
    "a line break in a text": [with_text('"account":"acc_1"', '"account":"acc\n1"')],
    "NUL after it": [GOOD._replace(value=(GOOD.value or b"") + b"\0}")],
    "no JSON": [with_text('"status":"posted"', '"status":"posted",')],
    "NaN": [with_text('"status":', '"x":NaN,"status":')],
    "an unknown number": [with_members(x=1)],
    "an extension": [with_members(extension="x")],
    "a null": [with_members(subject=None)],
    "a name twice": [with_text('"status":', '"account":"acc_1","status":')],
    "a null name twice": [with_text('"status":', '"merchant":null,"merchant":"x","status":')],
    "a number for a string": [with_members(account=1)],
    "a field missing": [with_text('"account":"acc_1",', "")],
    "data null": [GOOD._replace(value=b'{"type":"bfc.transaction.posted.v1","data":null}')],
    "another version of CloudEvents": [with_members(specversion="0.3")],
    "an unknown type": [with_members(type="bfc.transaction.lost.v1")],
    "two types": [GOOD, record_of(draft("bfc.account.closed", {"account": "a"}))],
    "two types, one named inside the other": [
        with_members(description="bfc.account.closed.v1"),
        record_of(draft("bfc.account.closed", {"account": "bfc.transaction.posted.v1"})),
    ],
    "a type of another topic": [GOOD._replace(topic="vyomo.ledger")],
    "two topics": [GOOD, GOOD._replace(topic="vyomo.ledger")],
    "two partitions": [GOOD, GOOD._replace(partition=GOOD.partition + 1)],
    "an old version": [
        record_of(
            draft(
                "bfc.kyc.submitted.v1", {"level": "1", "status": "s", "fields": {"country": "IN"}}
            )
        )
    ],
    "another media type": [with_members(datacontenttype="application/vnd.x+json")],
    "another tenant": [with_members(tenantid="other")],
    "a sequence that is no number": [with_members(sequence="1.5")],
    "an empty id": [with_members(id="")],
    "a long id": [with_members(id=LONG)],
    "an empty source": [with_members(source="")],
    "an empty subject": [with_members(subject="")],
    "a long correlation": [with_members(correlationid=LONG)],
    "an empty causation": [with_members(causationid="")],
    "an empty trace": [with_members(traceparent="")],
    "an empty person": [with_members(userid="")._replace(key=b"", partition=0)],
    "no person": [with_text('"userid":"usr_17",', "")],
    "an empty account": [with_members(account="")],
    "another word": [with_members(direction="Credit")],
    "no currency": [with_members(currency="XXX")],
    "nothing posted": [with_members(amount="0.00")],
    "less than nothing": [with_members(amount="-1")],
    "an exponent": [with_members(amount="1e5")],
    "a leading zero": [with_members(amount="01")],
    "too many digits": [with_members(amount="1" * 21)],
    "too many decimals": [with_members(amount="0." + "1" * 19)],
    "a negative price": [with_members(tick(), price="-1")],
    "a day that does not exist": [with_members(valueDate="2026-02-30")],
    "a day of the year 0": [with_members(valueDate="0000-01-01")],
    "a day of another form": [with_members(valueDate="20260212")],
    "a time with a blank": [with_members(time="2026-02-12 09:30:00.000Z")],
    "a time with an offset": [with_members(time="2026-02-12T09:30:00+0530")],
    "a time without milliseconds": [with_members(time="2026-02-12T09:30:00Z")],
    "a time that does not exist": [with_members(time="2026-02-12T24:30:00.000Z")],
    "a time before 1970": [with_members(time="1969-12-31T23:59:59.999Z")],
    "a time after 2199": [
        with_members(time="2200-01-01T00:00:00.000Z")._replace(
            timestamp=milliseconds(datetime(2200, 1, 1, tzinfo=UTC))
        )
    ],
    "a time ahead": [record_of(posted(time=at(days=2)), ingested=T0)],
    "a timestamp that is no time": [GOOD._replace(timestamp=2**60)],
    "a timestamp that is no 64-bit number": [GOOD._replace(timestamp=2**70)],
    "a negative timestamp": [GOOD._replace(timestamp=-1)],
    "an integer below its least": [with_members(SPLIT, numerator=0)],
    "an integer with a point": [with_text('"numerator":3', '"numerator":3.0', SPLIT)],
    "an integer beyond 64 bits": [with_members(SPLIT, numerator=2**63)],
    "a number for a boolean": [with_members(HOLDING, holdsCash=1)],
    "no key": [GOOD._replace(key=None)],
    "another person's key": [GOOD._replace(key=OTHER_KEY.encode())],
    "another symbol's key": [record_of(tick())._replace(key=b"MSFT")],
    "another partition": [GOOD._replace(partition=(GOOD.partition + 1) % PARTITIONS)],
    "another header": [GOOD._replace(headers=[("ce_id", b"x")])],
    "one more header": [GOOD._replace(headers=[*HEADERS, ("x", b"y")])],
    "binary mode in the middle": [
        GOOD,
        GOOD._replace(headers=[("content-type", b"application/json")]),
        GOOD,
    ],
}


@pytest.mark.parametrize("records", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_plainly_right_gives_none(records: list[RawRecord]) -> None:
    assert columns_of(records) is None
    assert columns_of([*records, GOOD]) is None or not records
    assert columns_of([GOOD]) is not None


def test_without_the_number_of_partitions_they_are_not_compared() -> None:
    record = GOOD._replace(partition=GOOD.partition + 1)
    assert columns_of([record], partitions=None) is not None
    assert columns_of([record]) is None


def test_the_tenant_is_the_installation_s() -> None:
    assert columns_of([GOOD], tenant="other") is None
    (event,) = decode_batch([GOOD])
    assert isinstance(event, Event) and event.tenant_id == TENANT

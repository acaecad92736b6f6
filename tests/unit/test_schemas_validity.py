"""What is valid, clause by clause (contract §7), and that every refusal names its field."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from schemas import limits
from schemas.codec import RawRecord, Unreadable, decode_carefully, decode_record
from schemas.envelope import Event, document_of
from schemas.instants import milliseconds
from tests.builders import T0, draft, fixing, opened, posted, record_of, step, tick, trade

PARTITIONS = 6


def decoded(record: RawRecord) -> Event | Unreadable:
    """By both ways, which must agree."""
    fast = decode_record(record, partitions={record.topic: PARTITIONS})
    careful = decode_carefully(record, PARTITIONS)
    assert fast == careful
    return fast


def altered(
    made: Any = None, *, data: Any = None, without: str = "", **attributes: Any
) -> RawRecord:
    """The record of a valid event (a posting, if not given) with other members put in."""
    made = made or posted("45000.00", account="acc_1")
    document = document_of(made, "bfc")
    document.update(attributes)
    document["data"] = {**document["data"], **(data or {})}
    where, _, name = without.rpartition(".")
    (document["data"] if where else document).pop(name, None)
    return record_of(made)._replace(value=json.dumps(document).encode())


def paths(record: RawRecord) -> list[str]:
    outcome = decoded(record)
    assert isinstance(outcome, Unreadable), outcome
    assert all(error.message for error in outcome.errors)
    return [error.path for error in outcome.errors]


def is_valid(record: RawRecord) -> Event:
    outcome = decoded(record)
    assert isinstance(outcome, Event), outcome.reason
    return outcome


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "time", "data", "userid"])
def test_required_attributes(name: str) -> None:
    assert name in paths(altered(without=name))
    assert name in paths(altered(**{name: None}) if name != "data" else altered(without=name))


def test_all_errors_are_told_at_once() -> None:
    record = altered(time="now", sequence=1, data={"amount": 1.5, "currency": "inr"}, without="id")
    assert set(paths(record)) == {"id", "time", "sequence", "data.amount", "data.currency"}


def test_what_is_wrong_with_the_form_does_not_hide_the_rest() -> None:
    record = altered(time="now", data={"amount": "-1", "description": "x" * 4001})
    assert set(paths(record)) == {"data.description", "time", "data.amount"}


@pytest.mark.parametrize(
    "identifier",
    ["x", "é" * 128, "🎉" * 128, " a ", "A", "a", "İ", "a b", "'; DROP TABLE", "\u200b"],
)
def test_ids_are_compared_as_they_stand(identifier: str) -> None:
    assert is_valid(altered(id=identifier)).id == identifier


@pytest.mark.parametrize(
    "identifier", ["", "x" * 129, "é" * 129, "a\nb", "\x7f", "a\x85", "\u0001", 7]
)
def test_ids_that_are_none(identifier: object) -> None:
    assert paths(altered(id=identifier)) == ["id"]
    assert paths(altered(causationid=identifier)) == ["causationid"]


@pytest.mark.parametrize("name", ["source", "subject", "userid", "tenantid", "traceparent"])
@pytest.mark.parametrize("value", ["", "a\tb", "a\x9fb", 5, {}, True])
def test_attributes_are_texts_without_control_characters(name: str, value: object) -> None:
    assert name in paths(altered(**{name: value}))


def test_unknown_attributes_and_fields_are_ignored_and_kept() -> None:
    event = is_valid(altered(data={"loyalty": {"points": [1, None]}}, myextension=3, other=None))
    assert event.raw_data["loyalty"] == {"points": [1, None]}


def test_snake_case_names_are_not_the_wires() -> None:
    assert is_valid(altered(data={"balance_after": "no number"})).data.balance_after is None


def test_null_is_not_there() -> None:
    event = is_valid(altered(data={"balanceAfter": None}, subject=None))
    assert (event.data.balance_after, event.subject) == (None, None)
    assert paths(altered(data={"amount": None})) == ["data.amount"]


def test_the_tenant_is_the_installations_if_not_said() -> None:
    assert is_valid(altered(without="tenantid")).tenant_id == "bfc"
    assert decode_record(altered(without="tenantid"), tenant="other").tenant_id == "other"  # type: ignore[union-attr]


@pytest.mark.parametrize("specversion", ["0.3", "1.0.2", "1", 1.0, ""])
def test_other_specversions(specversion: object) -> None:
    assert paths(altered(specversion=specversion)) == ["specversion"]


@pytest.mark.parametrize(
    "media", ["application/json", "application/json; charset=utf-8", "text/json"]
)
def test_json_media_types(media: str) -> None:
    is_valid(altered(datacontenttype=media))


@pytest.mark.parametrize(
    "media", ["text/plain", "application/xml", "application/json; charset=latin1"]
)
def test_other_media_types_contradict(media: str) -> None:
    assert paths(altered(datacontenttype=media)) == ["datacontenttype"]


def test_binary_data_is_refused() -> None:
    assert paths(altered(data_base64="e30=")) == ["data_base64"]


@pytest.mark.parametrize("value", [[], "x", 1, True])
def test_data_is_an_object(value: object) -> None:
    made = posted()
    document = document_of(made) | {"data": value}
    assert paths(record_of(made)._replace(value=json.dumps(document).encode())) == ["data"]


def test_time_ahead_of_ingestion() -> None:
    made = posted(time=T0)
    for ahead, fine in ((timedelta(hours=24), True), (timedelta(hours=24, milliseconds=1), False)):
        record = record_of(made, ingested=T0 - ahead)
        assert (paths(record) == ["time"]) if not fine else is_valid(record)
    is_valid(record_of(made, ingested=T0 + timedelta(days=20_000)))


@pytest.mark.parametrize("timestamp", [-1, 2**62])
def test_a_senseless_record_timestamp_stops_nothing(timestamp: int) -> None:
    assert isinstance(decoded(record_of(posted())._replace(timestamp=timestamp)), Unreadable)


@pytest.mark.parametrize(
    "time", ["2026-02-12", "2026-02-12T09:30:00", 1770888600, "2200-01-01T00:00:00Z"]
)
def test_times(time: object) -> None:
    assert paths(altered(time=time)) == ["time"]


@pytest.mark.parametrize(
    "number", ["1", "0.01", "9" * 20, "1." + "9" * 18, "45000.000", "0." + "0" * 17 + "1"]
)
def test_amounts(number: str) -> None:
    event = is_valid(altered(data={"amount": number}))
    assert f"{event.data.amount:f}" == number


@pytest.mark.parametrize(
    "number",
    [
        *("0", "-1", "-0", "0.00", "+1", "01", "00", "1.", ".5", "1e3", "1E-2", "1,000", "1_000"),
        *(" 1", "1 ", "1\n", "NaN", "Infinity", "0x1", "٤٥", "1" * 21, "1." + "0" * 19, "", "abc"),
        *(45000.0, 45000, True, None, [], {"amount": "1"}),
    ],
)
def test_what_is_no_amount(number: object) -> None:
    assert paths(altered(data={"amount": number})) == ["data.amount"]


@pytest.mark.parametrize(
    ("made", "field", "right", "wrong"),
    [
        (trade(), "quantity", ["0.000000000000000001"], ["0", "-1"]),
        (trade(), "price", ["0", "0.00", "-0", "1"], ["-0.01", 1]),
        (trade(), "fee", ["0", None, "1.20"], ["-1"]),
        (tick(), "price", ["0", "187.2"], ["-1", "1e2"]),
        (fixing(), "rate", ["0.000000000000000001"], ["0", "-83.1", 83.1]),
        (opened(), "openingBalance", ["-250000.00", "0", "-0"], ["--1", 0]),
        (opened(), "creditLimit", ["0"], ["-1"]),
        (opened(), "interestRate", ["7.1", "0", "-0.5"], [7.1, "7%"]),
        (opened(), "maturity", ["2030-02-28", None], ["2030-02-29", "2030-02-28T00:00:00Z", 1]),
        (opened(), "kind", ["credit_card"], ["trading", "Savings", ""]),
        (opened(), "currency", ["JPY"], ["XAU", "XOF", "inr", "ABC", "", None, 1]),
        (posted(), "direction", ["debit"], ["in", "CREDIT"]),
        (posted(), "status", ["pending"], ["done", None]),
        (posted(), "mcc", ["5411", "", None], [5411]),
        (posted(), "balanceAfter", ["-1.5", None], ["1e3", 5]),
        (posted(), "valueDate", ["2026-02-12"], ["12.02.2026"]),
        (posted(), "account", ["a", "<b>x</b>", "🎉", "'; DROP TABLE x"], ["", None, 1]),
        (step("signup"), "platform", ["globfam"], ["desktop"]),
        (step("signup"), "properties", [{}, {"plan": {"a": [1, None]}}], [None, [], "x"]),
    ],
)
def test_fields(made: Any, field: str, right: list[object], wrong: list[object]) -> None:
    for value in right:
        is_valid(altered(made, data={field: value}))
    for value in wrong:
        assert paths(altered(made, data={field: value})) == [f"data.{field}"]


def split(**data: object) -> Any:
    fields = {"account": "vy_1", "symbol": "AAPL", "numerator": 3, "denominator": 1}
    return draft("vyomo.split.applied", {**fields, **data})


@pytest.mark.parametrize("value", [0, -1, "3", 3.0, 2.5, True, None, 2**63])
def test_split_numbers_are_positive_json_integers(value: object) -> None:
    assert paths(altered(split(), data={"numerator": value})) == ["data.numerator"]
    assert is_valid(record_of(split(denominator=2))).data.denominator == 2


def test_a_reported_short_has_a_negative_quantity() -> None:
    data = {"account": "vy_1", "symbol": "AAPL", "quantity": "-5", "currency": "USD"}
    assert is_valid(record_of(draft("vyomo.position.reported", data))).data.quantity == -5


@pytest.mark.parametrize("field", ["name", "institution", "country", "account", "kind", "currency"])
def test_fields_of_an_opening_that_must_be_there(field: str) -> None:
    assert paths(altered(opened(), without=f"data.{field}")) == [f"data.{field}"]


def test_what_may_be_missing() -> None:
    account = {"account": "vy_1", "kind": "trading", "currency": "USD", "name": "Trading"}
    made = draft("vyomo.account.opened", {**account, "institution": "Vyomo", "country": "US"})
    assert is_valid(record_of(made)).data.holds_cash is False
    assert is_valid(altered(made, data={"holdsCash": True})).data.holds_cash is True
    assert paths(altered(made, data={"holdsCash": "yes"})) == ["data.holdsCash"]
    assert is_valid(altered(step("signup"), without="data.properties")).data.properties == {}


def test_json_is_read_to_the_letter() -> None:
    record = altered()
    value = record.value or b""
    for bad in (
        b"",
        b" ",
        b"null",
        b"[]",
        b"{",
        b"not json",
        b"\xef\xbb\xbf" + value,
        value + b"x",
        value.replace(b'"data": {', b'"data": {"amount": "1",'),
        b'{"id": "other",' + value[1:],
        value.replace(b"acc_1", b"acc\\u0000"),
        value.replace(b"acc_1", b"acc\\ud800"),
        value.replace(b"acc_1", b"acc\xed\xa0\x80"),
        value.replace(b"acc_1", b"acc\xff"),
        value.replace(b"acc_1", b"acc\n"),
        value.replace(b'"status"', b'"points": NaN, "status"'),
        value.replace(b'"status"', b'"points": 1e999, "status"'),
        value.replace(b'"status"', b'"points": {"a": 1, "a": 1}, "status"'),
        value.replace(b'"status"', b'"points": "\\ud83d", "status"'),
    ):
        assert isinstance(decoded(record._replace(value=bad)), Unreadable), bad
    assert isinstance(decoded(record._replace(value=None)), Unreadable)


def test_where_the_form_is_wrong_is_told() -> None:
    record = altered()
    value = record.value or b""
    for put, path in (
        (b'"points": {"a": 1, "a": 1}', "data.points.a"),
        (b'"points": [0, "\\u0000"]', "data.points.1"),
        (b'"points": ["\\ud83d"]', "data.points.0"),
        (b'"poi\\u0000nts": 1', "data.poi\\x00nts"),
    ):
        assert paths(record._replace(value=value.replace(b'"status"', put + b', "status"'))) == [
            path
        ]


@pytest.mark.parametrize("depth", [limits.nesting_depth_max, limits.nesting_depth_max + 1, 100_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_nesting(depth: int, brackets: tuple[str, str]) -> None:
    # The event, its data and the last one inside are three of them.
    inner = brackets[0] * (depth - 3) + "[]" + brackets[1] * (depth - 3)
    record = altered()
    value = (record.value or b"").replace(b'"status"', f'"deep": {inner}, "status"'.encode())
    outcome = decoded(record._replace(value=value))
    assert isinstance(outcome, Event) is (depth <= limits.nesting_depth_max)


def test_brackets_in_texts_do_not_nest() -> None:
    is_valid(altered(data={"description": '[{"\\' * 500}))


def test_unclosed_texts_full_of_quotes_are_refused_quickly() -> None:
    value = b'{"a":' + b"[" * 40 + b'"' + b'\\"' * 120_000
    assert isinstance(decoded(altered()._replace(value=value)), Unreadable)


def test_long_texts() -> None:
    longest = "é" * limits.text_length_max
    is_valid(altered(data={"description": longest}))
    is_valid(altered(data={"notes": [longest]}))
    assert paths(altered(data={"description": longest + "x"})) == ["data.description"]
    assert paths(altered(data={"notes": {"a": [longest + "x"]}})) == ["data.notes.a.0"]
    is_valid(altered(data={"notes": ["x" * 4000, "y" * 4000]}))
    assert paths(altered(data={"notes": ['"' + "y" * 4000]})) == ["data.notes.0"]
    assert paths(altered(myextension=longest + "x")) == ["myextension"]


def test_large_events() -> None:
    def padded(size: int) -> RawRecord:
        record = altered(data={"notes": ["x" * 4000] * 60})
        value = record.value or b""
        return record._replace(value=value + b" " * (size - len(value)))

    is_valid(padded(limits.event_size_bytes_max))
    assert paths(padded(limits.event_size_bytes_max + 1)) == [""]


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE users; --", "<script>alert(1)</script>", "🏦 ₹", '\n\t"\\/']
)
def test_texts_are_just_texts(text: str) -> None:
    assert is_valid(altered(data={"description": text})).data.description == text


def test_keys() -> None:
    made = posted(user="usr_17")
    assert paths(record_of(made)._replace(key=b"usr_18")) == ["key"]
    assert paths(record_of(made)._replace(key=None)) == ["key"]
    assert is_valid(record_of(tick("AAPL"))).user_id is None
    assert paths(record_of(tick("AAPL"))._replace(key=b"MSFT")) == ["key"]
    assert record_of(fixing("EUR", "USD")).key == b"EURUSD"
    assert paths(record_of(fixing("EUR", "USD"))._replace(key=b"USDEUR")) == ["key"]
    assert is_valid(record_of(step("signup", session="s1", user=None))).user_id is None
    assert record_of(step("signup", session="s1", user=None)).key == b"s1"
    assert record_of(step("signup", session="s1", user="u")).key == b"u"
    assert paths(record_of(step("signup", session="s1", user="u"))._replace(key=b"s1")) == ["key"]


def test_a_record_in_another_partition_than_its_keys() -> None:
    record = record_of(posted())
    elsewhere = record._replace(partition=(record.partition + 1) % PARTITIONS)
    assert paths(elsewhere) == ["partition"]
    assert isinstance(decode_record(elsewhere), Event), "without a number nothing can be said"


def test_types_on_their_topics() -> None:
    assert paths(altered(type="bfc.transaction.posted")) == ["type"]
    assert paths(altered(type="bfc.transaction.posted.v9")) == ["type"]
    assert paths(altered(type="nothing.known.v1")) == ["type"]
    assert paths(record_of(trade())._replace(topic="bfc.ledger")) == ["type"]
    assert paths(record_of(posted())._replace(topic="elsewhere")) == ["type"]
    outcome = decoded(altered(type="bfc.transaction.posted.v9"))
    assert (
        isinstance(outcome, Unreadable)
        and "did you mean bfc.transaction.posted.v1" in outcome.reason
    )


def test_milliseconds_are_kept_and_nothing_below() -> None:
    event = is_valid(altered(time="2026-02-12T15:00:00.123999+05:30"))
    assert event.time_ms == milliseconds(event.time) == 1770888600123

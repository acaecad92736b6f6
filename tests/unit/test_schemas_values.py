"""Positions, numbers, times, topics: the values that everything else is made of."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, Inexact, localcontext

import pytest
from aiokafka.partitioner import DefaultPartitioner

from schemas import instants, limits, numbers, topics
from schemas.errors import FieldError, Invalid, InvalidEvent
from schemas.position import Position, PositionToken


def test_a_position_is_its_text() -> None:
    position = Position("bfc.ledger", 3, 1042)
    assert str(position) == "bfc.ledger:3:1042"
    assert Position.parse("bfc.ledger:3:1042") == position


@pytest.mark.parametrize(
    "text",
    ["", "bfc.ledger", "bfc.ledger:3", "bfc.ledger:3:-1", ":3:4", "a:1:2:3", "a:٣:4", "a:1:x"],
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Position.parse(text)


def test_tokens_merge_cover_and_travel() -> None:
    early = PositionToken({("bfc.ledger", 3): 10, ("app.commands", 1): 7})
    late = PositionToken({("bfc.ledger", 3): 12})
    both = early.merge(late)
    assert both.encode() == "app.commands:1:7,bfc.ledger:3:12"
    assert PositionToken.parse(both.encode()) == both
    assert both.covers(early) and both.covers(late)
    assert not early.covers(late) and not late.covers(early)
    assert late.covers(PositionToken()) and not PositionToken().covers(late)
    assert PositionToken.parse("") == PositionToken()


def test_a_token_of_what_was_read_is_one_past_it() -> None:
    read = [Position("a", 0, 4), Position("a", 0, 2), Position("b", 1, 0)]
    assert PositionToken.after(read).encode() == "a:0:5,b:1:1"


@pytest.mark.parametrize("text", ["a:1", "a:1:2,", "a:1:2,a:1:3", "x", "a:1:99999999999999999999"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        PositionToken.parse(text)


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("45000", "INR", "45000.00"),
        ("0.005", "INR", "0.00"),
        ("0.015", "INR", "0.02"),
        ("0.025", "INR", "0.02"),
        ("-0.004", "INR", "0.00"),
        ("-2.5", "JPY", "-2"),
        ("1.0005", "KWD", "1.000"),
        ("99999999999999999999.995", "USD", "100000000000000000000.00"),
        ("1", "CLF", "1.0000"),
    ],
)
def test_money_is_rounded_half_to_even_once(amount: str, currency: str, shown: str) -> None:
    assert numbers.money(Decimal(amount), currency) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("10.500", "10.5"),
        ("1E+3", "1000"),
        ("0E-18", "0"),
        ("-0.0", "0"),
        ("1E-18", "0." + "0" * 17 + "1"),
    ],
)
def test_plain_numbers_have_no_exponent(number: str, shown: str) -> None:
    assert numbers.plain(Decimal(number)) == shown


def test_products_of_the_largest_numbers_are_exact() -> None:
    largest = Decimal("9" * 20 + "." + "9" * 18)
    with localcontext(numbers.STRICT):
        assert (largest * largest) / largest == largest
        assert largest * largest + Decimal("1E-36") - largest * largest == Decimal("1E-36")
        with pytest.raises(Inexact):
            Decimal(1) / Decimal(3)
    assert numbers.EXACT.divide(Decimal(1), Decimal(3)) == Decimal("0." + "3" * 100)


def test_currencies_are_active_and_have_no_x_codes() -> None:
    assert {
        "INR",
        "USD",
        "AUD",
        "EUR",
        "JPY",
        "KWD",
        "CHF",
        "ZWG",
        "VED",
        "SLE",
    } <= numbers.CURRENCIES
    assert not {"XAU", "XXX", "XOF", "XCD", "DEM", "HRK", "BGN", "ANG", "inr", "BTC"} & (
        numbers.CURRENCIES
    )
    assert not [code for code in numbers.CURRENCIES if code.startswith("X")]
    assert {numbers.minor_units(code) for code in ("JPY", "INR", "BHD", "UYW")} == {0, 2, 3, 4}
    with pytest.raises(Invalid):
        numbers.minor_units("XAU")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-02-12T09:30:00.123Z", datetime(2026, 2, 12, 9, 30, 0, 123000, UTC)),
        ("2026-02-12T09:30:00Z", datetime(2026, 2, 12, 9, 30, tzinfo=UTC)),
        ("2026-02-12T09:30:00.1Z", datetime(2026, 2, 12, 9, 30, 0, 100000, UTC)),
        ("2026-02-12t09:30:00.999999999z", datetime(2026, 2, 12, 9, 30, 0, 999000, UTC)),
        ("2026-02-12T09:30:00.5+05:30", datetime(2026, 2, 12, 4, 0, 0, 500000, UTC)),
        ("2026-02-12T00:30:00-23:59", datetime(2026, 2, 13, 0, 29, tzinfo=UTC)),
        ("2026-02-12T09:30:00-00:00", datetime(2026, 2, 12, 9, 30, tzinfo=UTC)),
        ("1969-12-31T23:30:00-01:00", datetime(1970, 1, 1, 0, 30, tzinfo=UTC)),
        ("2200-01-01T00:30:00+01:00", datetime(2199, 12, 31, 23, 30, tzinfo=UTC)),
        ("2199-12-31T23:59:59.999Z", datetime(2199, 12, 31, 23, 59, 59, 999000, UTC)),
        ("2016-12-31T23:59:60.5Z", datetime(2016, 12, 31, 23, 59, 59, 999000, UTC)),
        ("2017-01-01T05:29:60+05:30", datetime(2016, 12, 31, 23, 59, 59, 999000, UTC)),
        ("2024-02-29T00:00:00.000Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_rfc_3339_times_are_read_to_the_millisecond(text: str, time: datetime) -> None:
    assert instants.instant(text) == time
    assert instants.instant(instants.rfc3339(time)) == time


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-02-12", "2026-02-12T09:30:00", "2026-02-12T09:30Z", "2026-02-12 09:30:00Z"),
        *("2026-02-12T09:30:00,5Z", "2026-02-12T09:30:00.Z", "2026-02-12T09:30:00+0530"),
        *("2026-02-12T09:30:00+05", "2026-02-30T09:30:00Z", "2026-13-01T00:00:00Z"),
        *("2026-02-12T24:00:00Z", "2026-02-12T09:60:00Z", "2026-02-12T09:30:60Z"),
        *("2026-02-12T09:30:00+24:00", "2026-02-12T09:30:00+05:60", "٢٠٢٦-02-12T09:30:00Z"),
        *("1969-12-31T23:59:59.999Z", "2200-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
        *("9999-12-31T23:59:59-23:59", "2023-02-29T00:00:00.000Z", "2026-02-12T09:30:00.123Z "),
        *("2026-W07-4T09:30:00.123Z", "20260212T093000.1234567Z", "2026-02-12T09:30:00.123Zz"),
        "1770888600",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        instants.instant(text)


def test_days_are_calendar_days() -> None:
    assert instants.day("2024-02-29") == date(2024, 2, 29)
    for text in ("2023-02-29", "20240229", "2024-2-9", "2024-02-29T00:00:00Z", ""):
        with pytest.raises(Invalid):
            instants.day(text)


def test_times_are_written_in_utc_with_milliseconds() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    assert instants.rfc3339(datetime(2026, 2, 12, 15, 0, 0, 123999, india)) == (
        "2026-02-12T09:30:00.123Z"
    )
    with pytest.raises(Invalid):
        instants.rfc3339(datetime(2026, 2, 12))
    assert instants.from_milliseconds(1770888600123) == instants.instant("2026-02-12T09:30:00.123Z")
    assert instants.milliseconds(instants.instant("2026-02-12T09:30:00.123Z")) == 1770888600123


@pytest.mark.parametrize("partitions", [1, 6, 12, 17])
def test_partitions_are_those_of_the_java_clients(partitions: int) -> None:
    java_like = DefaultPartitioner()
    everything = list(range(partitions))
    for key in [
        b"",
        b"usr_17",
        "usr_é".encode(),
        b"EURUSD",
        b"AAPL",
        *(b"k" * n for n in range(40)),
    ]:
        assert topics.partition_of(key, partitions) == java_like(key, everything, everything)


def test_known_hashes_of_kafkas_own_tests() -> None:
    # org.apache.kafka.common.utils.UtilsTest.testMurmur2
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    for key, signed in known.items():
        assert topics.murmur2(key) == signed & 0xFFFFFFFF


def test_topics_are_the_contracts() -> None:
    assert list(topics.TOPICS) == [
        *("bfc.ledger", "bfc.transfers", "bfc.kyc", "vyomo.orders", "vyomo.ledger"),
        *("market.prices", "market.fx", "journeys", "external", "app.commands"),
        *("notifications", "rules.triggered", "actions", "wealth", "sync.conflicts"),
        "dead-letters",
    ]
    assert {topic.name for topic in topics.source_topics()} == set(list(topics.TOPICS)[:10])
    for topic in topics.TOPICS.values():
        assert topic.settings["retention.ms"] == "-1"
        assert topic.settings["message.timestamp.type"] == "LogAppendTime"
    sizes = [int(topic.settings["max.message.bytes"]) for topic in topics.source_topics()]
    dead_letters = int(topics.DEAD_LETTERS.settings["max.message.bytes"])
    assert dead_letters == max(sizes) + 64 * 1024
    assert min(sizes) > limits.event_size_bytes_max


def test_errors_say_where_and_what() -> None:
    error = InvalidEvent([FieldError("data.amount", "must be above zero"), FieldError("", "odd")])
    assert str(error) == "data.amount: must be above zero; : odd"
    assert error.errors[0].path == "data.amount"

"""What can be wrong with a good value: its key, its partition, its topic, its headers, its mode."""

from __future__ import annotations

import json
from collections.abc import Iterator

from schemas import limits
from schemas.codec import RawRecord
from schemas.envelope import HEADERS, document_of, key_of
from schemas.topics import event_topics, partition_of
from tests.builders import draft, fixing, record_of, step, tick, trade
from tests.corpus.kind import PERSON, Header, Kind, document, good, with_headers

_JSON: Header = ("content-type", b"application/json")
_DATA = json.dumps(document()["data"]).encode()


def kinds() -> Iterator[Kind]:
    """All of them."""
    yield from _keys()
    yield from _partitions()
    yield from _topics()
    yield from _headers()
    yield from _binary()
    yield from _timestamps()


def _keyed(record: RawRecord, key: bytes | None) -> RawRecord:
    return record._replace(key=key, partition=partition_of(key, 6) if key else 0)


def _keys() -> Iterator[Kind]:
    for name, key in {
        "no key": None,
        "an empty key": b"",
        "another person's key": b"usr_18",
        "the account as key": b"acc_1",
        "a key with a blank": b"usr_17 ",
        "a key in capitals": b"USR_17",
        "a key in quotes": b'"usr_17"',
        "a key with a length before it": b"\x06usr_17",
        "a key that is not UTF-8": b"\xff\xfe",
        "a key of 10,000 bytes": b"k" * 10_000,
    }.items():
        yield Kind(name, _keyed(record_of(good()), key), "key")
    for name, made, key in (
        ("the venue as key of a price", tick(venue="NYSE"), b"NYSE"),
        ("the symbol in small letters as key", tick(), b"aapl"),
        ("a pair with a slash as key", fixing(), b"USD/INR"),
        ("a pair the wrong way round as key", fixing(), b"INRUSD"),
        ("the session as key of a named step", step("signup", user=PERSON), b"sess_1"),
        ("another session as key", step("signup", user=None), b"sess_2"),
        ("the symbol as key of a trade", trade(user=PERSON), b"AAPL"),
    ):
        yield Kind(name, _keyed(record_of(made), key), "key")


def _partitions() -> Iterator[Kind]:
    right = partition_of(PERSON.encode(), 6)
    for distance in range(1, 6):
        number = (right + distance) % 6
        record = record_of(good(), partition=number)
        yield Kind(f"a partition {distance} beside its key's", record, "partition")
    wrong = (partition_of(b"AAPL", 6) + 1) % 6
    yield Kind("a price in another partition", record_of(tick(), partition=wrong), "partition")


def _topics() -> Iterator[Kind]:
    for topic in event_topics():
        if topic.name != "bfc.ledger":
            record = record_of(good())._replace(topic=topic.name)
            yield Kind(f"a posting on {topic.name}", record, "type")
    record = record_of(tick())._replace(topic="bfc.ledger")
    yield Kind("a price on bfc.ledger", record, "type")


def _headers() -> Iterator[Kind]:
    for media in (
        b"text/plain",
        b"application/xml",
        b"application/avro",
        b"application/octet-stream",
        b"application/json",
        b"application/cloudevents+xml",
        b"application/cloudevents+avro",
        b"application/cloudevents",
        b"application/cloudevents-batch+json",
        b"application/cloudevents+json; charset=UTF-16",
        b"application/cloudevents+json; charset=latin1",
        b"application/cloudevents+json; profile=x",
        b"",
        b"\xff",
        b"json",
    ):
        shown = media.decode("latin-1")
        record = with_headers([("content-type", media)])
        yield Kind(f"content type {shown!r}", record, "content-type")
    twice: list[Header] = [*HEADERS, ("content-type", b"text/plain")]
    yield Kind("content type given twice", with_headers(twice), "content-type")
    capital: list[Header] = [("Content-Type", b"text/plain")]
    yield Kind("content type in capitals", with_headers(capital), "content-type")
    nothing: list[Header] = [("content-type", None)]
    yield Kind("content type null", with_headers(nothing), "content-type")


def _binary_record(
    *changes: Header, without: str = "", data: bytes | None = _DATA, media: Header = _JSON
) -> RawRecord:
    """A good posting in binary mode with headers added, exchanged or left out."""
    names = {name for name, _ in changes}
    written = {name: value for name, value in document().items() if name != "data"}
    headers: list[Header] = [media] if media[0] else []
    headers += [
        (f"ce_{name}", str(value).encode())
        for name, value in written.items()
        if name not in ("datacontenttype", without) and f"ce_{name}" not in names
    ]
    record = record_of(good())._replace(value=data)
    return with_headers([*headers, *changes], record)


def _binary() -> Iterator[Kind]:
    for name in ("specversion", "id", "source", "type", "time", "userid"):
        yield Kind(f"binary: ce_{name} missing", _binary_record(without=name), name)
        empty = _binary_record((f"ce_{name}", b""))
        yield Kind(f"binary: ce_{name} empty", empty, name)
        null = _binary_record((f"ce_{name}", None))
        yield Kind(f"binary: ce_{name} null", null, name)
        latin = _binary_record((f"ce_{name}", b"caf\xe9"))
        yield Kind(f"binary: ce_{name} not UTF-8", latin, name)
        twice = _binary_record((f"ce_{name}", b"x"), (f"ce_{name}", b"y"))
        yield Kind(f"binary: ce_{name} given twice", twice, name)
    for name, value in {
        "id": b"a\x00b",
        "subject": b"a\nb",
        "sequence": b"-1",
        "time": b"2026-02-12T09%3A30%3A00Z",
        "type": b"bfc.transaction.posted.v9",
        "specversion": b"0.3",
        "traceparent": b"\x7f",
    }.items():
        record = _binary_record((f"ce_{name}", value))
        yield Kind(f"binary: ce_{name} {value!r}", record, name)
    for what, data in {
        "not JSON": b"amount=1",
        "an array": b"[]",
        "a text": b'"x"',
        "a number": b"1",
        "cut off": _DATA[:-1],
        "not UTF-8": b'{"amount": "\xff"}',
        "null in JSON": b"null",
        "a whole event": json.dumps(document()).encode(),
    }.items():
        path = "data.transaction" if what == "a whole event" else "data"
        yield Kind(f"binary: data {what}", _binary_record(data=data), path)
    yield Kind("binary: data null", _binary_record(data=None), "")
    yield Kind("binary: data empty", _binary_record(data=b""), "")
    nul = _binary_record(data=_DATA.replace(b"45000.00", b"\\u0000"))
    yield Kind("binary: U+0000 in data", nul, "data.amount")
    deep = b'{"x":' + b"[" * 63 + b"]" * 63 + b"}"
    yield Kind("binary: data too deep", _binary_record(data=deep), "data")
    xml = _binary_record(media=("content-type", b"application/xml"))
    yield Kind("binary: XML by its content type", xml, "content-type")
    cut = limits.event_size_bytes_max - len(_DATA)
    padded = _DATA + b" " * (cut - 10)
    yield Kind("binary: too large with its headers", _binary_record(data=padded), "")
    structured = record_of(good())._replace(headers=[_JSON])
    yield Kind("structured by its value, binary by its header", structured, "content-type")


def _timestamps() -> Iterator[Kind]:
    stamped = "LogAppendTime: the broker writes the timestamp itself"
    for name, stamp in {"beyond year 9999": 2**62, "before the calendar": -(2**62)}.items():
        record = record_of(good())._replace(timestamp=stamp)
        yield Kind(f"a timestamp {name}", record, "", withheld=stamped)
    made = draft("bfc.account.closed", {"account": "acc_1"}, user=PERSON)
    early = record_of(made)._replace(timestamp=0)
    yield Kind("a record stamped long before its event", early, "time", withheld=stamped)
    assert key_of(made) == document_of(made)["userid"].encode()

"""Values that are no JSON text of an event: encodings, grammar, depth, size."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

from schemas import limits
from tests.corpus.kind import Kind, document, spliced, with_value

_TEXT = json.dumps(document())
_AMOUNT = '"45000.00"'


def kinds() -> Iterator[Kind]:
    """All of them."""
    for name, value in _VALUES.items():
        yield Kind(f"value {name}", with_value(value), "")
    for name, new in _GRAMMAR.items():
        yield Kind(f"JSON with {name}", spliced(_AMOUNT, new), "")
    yield from _repeated()
    yield from _characters()
    yield from _sizes()


#: Whole values.
_VALUES: dict[str, bytes | None] = {
    "null": None,
    "empty": b"",
    "of blanks": b" \t\r\n",
    "of text": b"not json",
    "of one NUL": b"\0",
    "of a JSON array": b"[]",
    "of an array of events": f"[{_TEXT}]".encode(),
    "of a JSON string": b'"event"',
    "of an event in a string": json.dumps(_TEXT).encode(),
    "of a JSON number": b"42",
    "of JSON null": b"null",
    "of JSON true": b"true",
    "cut in the middle": _TEXT[: len(_TEXT) // 2].encode(),
    "without its last byte": _TEXT[:-1].encode(),
    "with a bracket too many": f"{_TEXT}}}".encode(),
    "of two events": f"{_TEXT}{_TEXT}".encode(),
    "of two events by lines": f"{_TEXT}\n{_TEXT}".encode(),
    "with a byte order mark": b"\xef\xbb\xbf" + _TEXT.encode(),
    "in UTF-16": _TEXT.encode("utf-16"),
    "in UTF-16 without a mark": _TEXT.encode("utf-16-le"),
    "in UTF-32": _TEXT.encode("utf-32"),
    "in EBCDIC": _TEXT.encode("cp500"),
    "compressed by itself": gzip.compress(_TEXT.encode(), mtime=0),
    "framed for a schema registry": b"\0\0\0\0\x2a" + _TEXT.encode(),
    "of Avro": b"Obj\x01\x04\x16avro.schema",
    "of Protocol Buffers": b"\x0a\x05usr_1\x10\x96\x01",
    "of MessagePack": b"\x82\xa2id\x01\xa4type\xa1x",
    "of XML": b"<?xml version='1.0'?><event/>",
    "of HTML, an error page": b"<!DOCTYPE html><title>502 Bad Gateway</title>",
    "of CSV": b"id,amount\n1,45000.00\n",
    "of Python": repr(document()).encode(),
    "of YAML": b"specversion: '1.0'\nid: x\n",
    "of form fields": b"id=1&type=bfc.transaction.posted.v1",
    "of random bytes": bytes(range(256)),
}

#: In the place of an amount.
_GRAMMAR: dict[str, str | bytes] = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "minus Infinity": "-Infinity",
    "a hexadecimal number": "0x1F",
    "an octal number": "0755",
    "a plus sign": "+1",
    "a point without digits": "1.",
    "a point at the start": ".5",
    "a number that no double holds": "1e400",
    "a number with a comma": "1,5",
    "single quotes": "'45000.00'",
    "no value": "",
    "a comma at the end of an array": "[1,]",
    "a comment": '"45000.00" /* rupees */',
    "a comment by line": '"45000.00" // rupees\n',
    "True of Python": "True",
    "None of Python": "None",
    "undefined": "undefined",
    "a name without quotes": "{amount: 1}",
    "a raw line break in a text": '"a\nb"',
    "a raw NUL in a text": '"a\0b"',
    "a raw tab in a text": '"a\tb"',
    "an escape that is none": '"a\\x41"',
    "an escape of three digits": '"\\u004"',
    "an escape cut off": '"\\',
    "a text that does not end": '"45000.00',
    "latin-1 in a text": '"caf\xe9"'.encode("latin-1"),
    "overlong UTF-8": b'"\xc0\xaf"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "UTF-8 beyond Unicode": b'"\xf4\x90\x80\x80"',
    "a character cut in two": b'"\xe2\x82"',
    "a stray continuation byte": b'"\x80"',
    "a vertical tab between members": '"45000.00"\x0b',
    "a no-break space between members": '"45000.00"\xa0',
}


def _repeated() -> Iterator[Kind]:
    for name in ("id", "time", "userid", "type", "source", "data"):
        member = json.dumps(document()[name])
        record = spliced('"specversion"', f'"{name}": {member}, "specversion"')
        yield Kind(f"{name} given twice", record, name)
    record = spliced('"amount"', '"amount": "45000.00", "amount"')
    yield Kind("a field given twice", record, "data.amount")
    record = spliced('"amount"', '"\\u0061mount": "1.00", "amount"')
    yield Kind("a field given twice, once escaped", record, "data.amount")
    record = spliced('"amount"', '"more": {"x": [{"y": 1, "y": 1}]}, "amount"')
    yield Kind("an unknown field given twice, deep inside", record, "data.more.x.0.y")
    record = spliced('"specversion"', '"extension": 1, "extension": 2, "specversion"')
    yield Kind("an extension given twice", record, "extension")


def _characters() -> Iterator[Kind]:
    for name, text in {
        "U+0000": "\\u0000",
        "a lone high surrogate": "\\ud83d",
        "a lone low surrogate": "\\ude00",
        "a pair the wrong way round": "\\ude00\\ud83d",
    }.items():
        in_field = spliced('"amount"', f'"description": "a{text}b", "amount"')
        yield Kind(f"{name} in a field", in_field, "data.description")
        unknown = spliced('"amount"', f'"more": ["a{text}"], "amount"')
        yield Kind(f"{name} in an unknown field", unknown, "data.more.0")
        in_id = spliced('"specversion"', f'"subject": "a{text}", "specversion"')
        yield Kind(f"{name} in an attribute", in_id, "subject")
        named = spliced('"amount"', f'"a{text}": 1, "amount"')
        shown = text.replace("\\u0000", "\\x00")
        yield Kind(f"{name} in a name", named, f"data.a{shown}")


def _sizes() -> Iterator[Kind]:
    long = "x" * (limits.text_length_max + 1)
    yield Kind("a text too long", spliced(_AMOUNT, f'"{long}"'), "data.amount")
    unknown = spliced('"amount"', f'"more": "{long}", "amount"')
    yield Kind("a text too long in an unknown field", unknown, "data.more")
    yield Kind(
        "a name too long", spliced('"amount"', f'"{long}": 1, "amount"'), f"data.{long[:100]}"
    )
    escaped = "\\u0041" * len(long)
    record = spliced('"amount"', f'"more": "{escaped}", "amount"')
    yield Kind("a text too long, all escaped", record, "data.more")
    for depth, what in ((63, "by one"), (1_000, "a thousand"), (60_000, "sixty thousand")):
        arrays = "[" * depth + "]" * depth
        record = spliced('"amount"', f'"more": {arrays}, "amount"')
        yield Kind(f"arrays too deep: {what}", record, "")
    objects = '{"a":' * 64 + "1" + "}" * 64
    yield Kind("objects too deep", spliced('"amount"', f'"more": {objects}, "amount"'), "")
    yield Kind("brackets that never close", with_value(b"[" * 100_000), "")
    filling = "x" * 100
    pieces = ",".join(f'"f{number:05d}":"{filling}"' for number in range(3_000))
    large = spliced('"amount"', f'{pieces},"amount"')
    yield Kind("an event too large", large, "")
    exact = with_value(_TEXT.encode() + b" " * (limits.event_size_bytes_max + 1 - len(_TEXT)))
    yield Kind("an event too large by one byte", exact, "")
    near = with_value(b"x" * (limits.source_record_bytes_max - 1_000))
    yield Kind("a record as large as its topic takes", near, "")
    over = with_value(b"x" * (limits.source_record_bytes_max + 1))
    yield Kind(
        "a record larger than its topic takes",
        over,
        "",
        withheld="max.message.bytes of the topic: the broker refuses it, the producer is told",
    )
    twice = (f'"f{number:04d}":1,"f{number:04d}":1' for number in range(5_000))
    record = spliced('"amount"', f'{",".join(twice)},"amount"')
    yield Kind("five thousand errors", record, "data.f0000")

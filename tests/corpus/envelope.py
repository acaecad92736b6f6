"""What can be wrong with the attributes of an event (contract, sections 1 and 7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.corpus.kind import Kind, altered

REQUIRED = ("specversion", "id", "source", "type", "time", "data", "userid")
OPTIONAL = ("subject", "tenantid", "correlationid", "causationid", "traceparent", "sequence")


def kinds() -> Iterator[Kind]:
    """All of them."""
    for name in REQUIRED:
        yield Kind(f"{name} missing", altered(without=name), name)
        yield Kind(f"{name} null", altered({name: None}), name)
    for name in (*REQUIRED, *OPTIONAL, "datacontenttype"):
        for what, value in _OTHER.items():
            if not (name == "data" and what == "an object"):
                yield Kind(f"{name} {what}", altered({name: value}), name)
    for name in ("id", "source", "userid", *OPTIONAL):
        if name != "sequence":
            for what, text in _TEXTS.items():
                yield Kind(f"{name} {what}", altered({name: text}), name)
    for name in ("id", "correlationid", "causationid"):
        yield Kind(f"{name} of 129 characters", altered({name: "x" * 129}), name)
    for name, values in _WRONG.items():
        for value in values:
            yield Kind(f"{name} {value!r}", altered({name: value}), name)
    yield Kind("data_base64 beside data", altered({"data_base64": "e30="}), "data_base64")
    without = altered({"data_base64": "e30="}, without="data")
    yield Kind("data_base64 in place of data", without, "data_base64")


_OTHER: dict[str, Any] = {
    "a number": 1,
    "a boolean": True,
    "an array": ["x"],
    "an object": {"x": "y"},
}

_TEXTS: dict[str, str] = {
    "empty": "",
    "with a line break": "a\nb",
    "with DEL": "a\x7fb",
    "with a C1 control": "a\x85b",
    "with an escape sequence": "\x1b[2J",
}

_WRONG: dict[str, tuple[str, ...]] = {
    "specversion": ("", "0.3", "1", "1.0.2", "1.1", "v1.0", " 1.0"),
    "type": (
        "",
        "bfc.transaction.posted",
        "bfc.transaction.posted.v0",
        "bfc.transaction.posted.v2",
        "bfc.transaction.posted.v1.1",
        "bfc.transaction.posted.V1",
        "BFC.transaction.posted.v1",
        "bfc.transaction.posted.v01",
        "bfc.transaction.posted.v1 ",
        "transaction.posted.v1",
        "bfc.unheard.of.v1",
        "x" * 3_000,
        "bfc.transaction\n.posted.v1",
    ),
    "sequence": ("", "-1", "1.0", "1e3", " 1", "one", "12345678901234567890", "\u0661"),
    "datacontenttype": (
        "",
        "text/plain",
        "application/xml",
        "application/jsonx",
        "application/json; charset=latin1",
        "application/avro",
    ),
    "time": (
        "",
        "now",
        "2026-02-12",
        "09:30:00Z",
        "2026-02-12T09:30:00",
        "2026-02-12 09:30:00Z",
        "2026-02-12T09:30Z",
        "2026-02-12T09:30:00,123Z",
        "2026-02-12T09:30:00.Z",
        "2026-02-12T24:00:00Z",
        "2026-02-12T09:60:00Z",
        "2026-02-12T09:30:61Z",
        "2026-02-12T09:30:60Z",
        "2026-02-29T09:30:00Z",
        "2026-13-01T09:30:00Z",
        "2026-00-10T09:30:00Z",
        "2026-02-00T09:30:00Z",
        "2026-02-12T09:30:00+5:30",
        "2026-02-12T09:30:00+0530",
        "2026-02-12T09:30:00+24:00",
        "2026-02-12T09:30:00+05:60",
        "2026-02-12T09:30:00UTC",
        "Thu, 12 Feb 2026 09:30:00 GMT",
        "20260212T093000Z",
        "2026-W07-4T09:30:00Z",
        "1770888600",
        "1770888600123",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00+00:01",
        "2200-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999Z",
        "10000-01-01T00:00:00Z",
        "+002026-02-12T09:30:00Z",
        "-2026-02-12T09:30:00Z",
        "2199-12-31T23:59:59.999Z",
        "\u0662\u0660\u0662\u0666-02-12T09:30:00Z",
        " 2026-02-12T09:30:00Z",
    ),
}

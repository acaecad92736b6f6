"""The HTTP interface as values: what a request's parameters mean, what an answer's head says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from compose.local.clickhouse_http.engine import DEFAULT_FORMAT, Answer, Call

# Parameters that are no settings. Users are not checked and sessions not kept: every request has
# its own connection, so temporary tables and SET last for one request.
_NO_SETTINGS = frozenset(
    {
        "query",
        "database",
        "default_format",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "user",
        "password",
        "role",
        "quota_key",
        "stacktrace",
        "compress",
        "decompress",
        "buffer_size",
        "wait_end_of_query",
        "enable_http_compression",
        "client_protocol_version",
        "http_zlib_compression_level",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "http_native_compression_disable_checksumming_on_decompress",
    }
)
_PARAMETER = "param_"

_TYPES = {
    "tabseparated": "text/tab-separated-values; charset=UTF-8",
    "tsv": "text/tab-separated-values; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8; header=absent",
    "csvwithnames": "text/csv; charset=UTF-8; header=present",
    "json": "application/json; charset=UTF-8",
    "jsoncompact": "application/json; charset=UTF-8",
    "jsoneachrow": "application/x-ndjson; charset=UTF-8",
    "pretty": "text/plain; charset=UTF-8",
    "xml": "application/xml; charset=UTF-8",
}

# The status a server gives for an error: the statement is wrong, or names what is not there.
_BAD_REQUEST = frozenset(
    {
        "BAD_ARGUMENTS",
        "CANNOT_COMPILE_REGEXP",
        "CANNOT_PARSE_DATE",
        "CANNOT_PARSE_DATETIME",
        "CANNOT_PARSE_ESCAPE_SEQUENCE",
        "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
        "CANNOT_PARSE_NUMBER",
        "CANNOT_PARSE_QUOTED_STRING",
        "CANNOT_PARSE_TEXT",
        "CANNOT_PARSE_UUID",
        "DUPLICATE_COLUMN",
        "ILLEGAL_COLUMN",
        "INCORRECT_DATA",
        "SYNTAX_ERROR",
        "THERE_IS_NO_COLUMN",
        "TOO_BIG_AST",
        "TOO_DEEP_AST",
        "TYPE_MISMATCH",
        "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    }
)
_NOT_FOUND = frozenset(
    {
        "UNKNOWN_AGGREGATE_FUNCTION",
        "UNKNOWN_DATABASE",
        "UNKNOWN_DATABASE_ENGINE",
        "UNKNOWN_FORMAT",
        "UNKNOWN_FUNCTION",
        "UNKNOWN_IDENTIFIER",
        "UNKNOWN_SETTING",
        "UNKNOWN_STORAGE",
        "UNKNOWN_TABLE",
        "UNKNOWN_TYPE",
        "UNKNOWN_TYPE_OF_QUERY",
    }
)
_STATUS = {"NOT_IMPLEMENTED": 501, "TIMEOUT_EXCEEDED": 408, "ACCESS_DENIED": 403}


@dataclass(frozen=True)
class Options:
    """How to carry the answer, beside what to run."""

    query_id: str
    accepts: str
    """Accept-Encoding, empty where the client did not turn compression on."""
    framed: bool
    """ClickHouse's own framing (`compress=1`)."""


def status_of(name: str) -> int:
    """The HTTP status for an error's name."""
    if name in _BAD_REQUEST:
        return 400
    if name in _NOT_FOUND:
        return 404
    return _STATUS.get(name, 500)


def call_of(
    parameters: Mapping[str, str], headers: Mapping[str, str], body: bytes, *, reading: bool
) -> Call:
    """The statement to run. `reading` is a GET, which may change nothing."""
    statement = parameters.get("query", "").encode("utf-8", "surrogateescape")
    settings = {
        name: value
        for name, value in parameters.items()
        if name not in _NO_SETTINGS and not name.startswith(_PARAMETER)
    }
    if reading:
        settings.setdefault("readonly", "2")
    return Call(
        text=statement + b"\n" + body if statement and body else statement or body,
        database=parameters.get("database") or headers.get("X-ClickHouse-Database", ""),
        default_format=parameters.get("default_format")
        or headers.get("X-ClickHouse-Format", DEFAULT_FORMAT),
        settings=settings,
        parameters={
            name.removeprefix(_PARAMETER): value
            for name, value in parameters.items()
            if name.startswith(_PARAMETER)
        },
    )


def options_of(parameters: Mapping[str, str], headers: Mapping[str, str], query_id: str) -> Options:
    """How the client wants its answer."""
    compressed = parameters.get("enable_http_compression") == "1"
    return Options(
        query_id=parameters.get("query_id") or query_id,
        accepts=headers.get("Accept-Encoding", "") if compressed else "",
        framed=parameters.get("compress") == "1",
    )


def head_of(answer: Answer, options: Options, elapsed_ns: int, tag: str) -> dict[str, str]:
    """The headers of a result; the counters are those known by now."""
    summary = {
        "read_rows": answer.rows_read,
        "read_bytes": answer.bytes_read,
        "written_rows": answer.rows_written,
        "written_bytes": answer.bytes_written,
        "total_rows_to_read": 0,
        "result_rows": answer.rows_written,
        "result_bytes": answer.bytes_written,
        "elapsed_ns": elapsed_ns,
    }
    return {
        "Content-Type": _TYPES.get(answer.format.lower(), "application/octet-stream"),
        "X-ClickHouse-Format": answer.format,
        "X-ClickHouse-Query-Id": options.query_id,
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Server-Display-Name": "local",
        "X-ClickHouse-Exception-Tag": tag,
        "X-ClickHouse-Summary": json.dumps({name: str(n) for name, n in summary.items()}),
    }


def late_error(message: str, tag: str) -> bytes:
    """How an error is told once a part of the result has been sent.

    Marked with the tag that the head announced, so that no data can be taken for it.
    """
    text = message.encode("utf-8", "replace") + b"\n"
    mark = tag.encode()
    return b"\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n" % (
        mark,
        text,
        len(text),
        mark,
    )

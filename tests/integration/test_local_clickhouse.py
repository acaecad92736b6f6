"""ClickHouse's HTTP interface in front of the embedded engine, as its clients use it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType

import clickhouse_connect
import cramjam
import httpx
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from compose.local import Stack
from compose.local.clickhouse_http.encoding import Frames, unframe

CODECS: dict[str, ModuleType] = {
    "gzip": cramjam.gzip,
    "lz4": cramjam.lz4,
    "zstd": cramjam.zstd,
    "br": cramjam.brotli,
    "deflate": cramjam.zlib,
}
TABLE = """
CREATE TABLE postings
(
    id UInt64,
    kind LowCardinality(Nullable(String)),
    at DateTime64(3, 'UTC'),
    amount Decimal(38, 18)
)
ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000
"""
COLUMNS = ["id", "kind", "at", "amount"]
ROWS = [
    (1, "card", datetime(2026, 2, 12, 9, 30, 0, 123000, UTC), Decimal("45000.000000000000000001")),
    (2, None, datetime(1970, 1, 1, tzinfo=UTC), Decimal("-12345678901234567890.5")),
]


@pytest.fixture
def http(stack: Stack, clickhouse_database: str) -> Iterator[httpx.Client]:
    """Any HTTP client: nothing of ClickHouse's own."""
    with httpx.Client(
        base_url=stack.clickhouse, params={"database": clickhouse_database}, timeout=60
    ) as client:
        yield client


def run(http: httpx.Client, query: str, body: bytes = b"", **parameters: str) -> httpx.Response:
    return http.post("/", params={"query": query, **parameters}, content=body)


def text(http: httpx.Client, query: str, **parameters: str) -> str:
    answer = run(http, query, **parameters)
    assert answer.status_code == 200, answer.text
    return answer.text


# --- the official client


async def test_the_async_client(stack: Stack, clickhouse_database: str) -> None:
    client = await clickhouse_connect.get_async_client(
        dsn=stack.clickhouse, database=clickhouse_database, tz_mode="aware"
    )
    await client.command(TABLE)
    summary = await client.insert("postings", ROWS, column_names=COLUMNS)
    assert summary.written_rows == 2
    got = await client.query("SELECT * FROM postings ORDER BY id")
    assert [tuple(row) for row in got.result_rows] == ROWS
    bound = {"kinds": ["card", "it's\ta \\"], "since": datetime(2026, 1, 1, tzinfo=UTC)}
    chosen = await client.query(
        "SELECT id FROM postings"
        " WHERE kind IN {kinds:Array(String)} AND at >= {since:DateTime64(3, 'UTC')}",
        parameters=bound,
    )
    assert chosen.result_rows == [(1,)]
    table = await client.query_arrow("SELECT id, amount FROM postings ORDER BY id")
    assert table.column("id").to_pylist() == [1, 2]
    # Without a token the engine would know the block by its content and drop it.
    token = {"insert_deduplication_token": "again"}
    again = await client.query_arrow("SELECT * FROM postings")
    await client.insert_arrow("postings", again, settings=token)
    assert (await client.query("SELECT count() FROM postings")).first_row == (4,)
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        await client.query("SELECT * FROM nowhere")
    with pytest.raises(StreamFailureError, match="FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"):
        await client.query("SELECT number, throwIf(number = 2900000) FROM numbers(3000000)")
    await client.close()


def test_the_sync_client(stack: Stack, clickhouse_database: str) -> None:
    with clickhouse_connect.get_client(
        dsn=stack.clickhouse, database=clickhouse_database, tz_mode="aware"
    ) as client:
        client.command(TABLE)
        client.insert("postings", ROWS, column_names=COLUMNS)
        got = client.query("SELECT * FROM postings ORDER BY id").result_rows
        assert [tuple(row) for row in got] == ROWS
        with client.query_row_block_stream("SELECT number FROM numbers(3000000)") as blocks:
            assert sum(len(block) for block in blocks) == 3_000_000
        with pytest.raises(DatabaseError, match="UNKNOWN_IDENTIFIER"):
            client.query("SELECT nothing FROM postings")


def test_an_insert_with_a_known_token_adds_nothing(stack: Stack, clickhouse_database: str) -> None:
    rows = pa.table({"id": pa.array(range(1000), pa.uint64())})
    with clickhouse_connect.get_client(
        dsn=stack.clickhouse, database=clickhouse_database
    ) as client:
        client.command(TABLE)
        for token in ("0-999", "0-999", "1000-1999", "0-999"):
            client.insert_arrow("postings", rows, settings={"insert_deduplication_token": token})
        assert client.query("SELECT count() FROM postings").first_row == (2000,)


# --- any HTTP client


def test_a_result_and_its_head(http: httpx.Client) -> None:
    answer = run(http, "SELECT 1 AS one FORMAT JSON", query_id="mine")
    assert answer.json()["data"] == [{"one": 1}]
    assert answer.headers["X-ClickHouse-Format"] == "JSON"
    assert answer.headers["X-ClickHouse-Query-Id"] == "mine"
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["read_rows"] == "1"
    assert text(http, "SELECT 1, 'a'") == "1\ta\n"
    assert text(http, "SELECT 1, 'a'", default_format="CSV") == '1,"a"\n'


def test_the_query_in_the_url_the_body_or_both(http: httpx.Client) -> None:
    assert http.get("/", params={"query": "SELECT 1"}).text == "1\n"
    assert http.post("/", content=b"SELECT 1").text == "1\n"
    assert run(http, "SELECT", b"1").text == "1\n"
    assert http.get("/").text == "Ok.\n"
    assert http.get("/ping").text == "Ok.\n"
    assert http.get("/replicas_status").text == "Ok.\n"


def test_a_get_changes_nothing(http: httpx.Client) -> None:
    text(http, TABLE)
    refused = http.get("/", params={"query": "DROP TABLE postings"})
    assert refused.headers["X-ClickHouse-Exception-Code"] == "164"
    assert text(http, "EXISTS postings") == "1\n"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("SELEC 1", 400, "62"),
        ("SELECT * FROM nowhere", 404, "60"),
        ("SELECT nofunction()", 404, "46"),
        ("SELECT 1 SETTINGS nosetting = 1", 404, "115"),
        ("SELECT toUInt8('x')", 400, "6"),
        ("SELECT throwIf(1)", 500, "395"),
        ("", 400, "62"),
    ],
)
def test_errors(http: httpx.Client, query: str, status: int, code: str) -> None:
    answer = http.post("/", content=query.encode())
    assert answer.status_code == status
    assert answer.headers["X-ClickHouse-Exception-Code"] == code
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")


def test_settings_and_parameters_hold_for_one_request(http: httpx.Client) -> None:
    query = "SELECT getSetting('max_threads')"
    before = text(http, query)
    assert text(http, query, max_threads="7") == "7\n"
    assert text(http, query) == before
    assert run(http, query, nosetting="1").headers["X-ClickHouse-Exception-Code"] == "115"
    # A parameter's value is escaped as in TabSeparated, and so is the answer.
    assert text(http, "SELECT {a:String}", param_a=r"it\'s\ta \\ tab") == "it\\'s\\ta \\\\ tab\n"
    assert text(http, "SELECT {a:Identifier} FROM numbers(1)", param_a="number") == "0\n"
    assert (
        run(http, "SELECT {a:UInt8}", param_a="x").headers["X-ClickHouse-Exception-Code"] == "457"
    )
    assert run(http, "SELECT {a:UInt8}").headers["X-ClickHouse-Exception-Code"] == "456"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("INSERT INTO t FORMAT CSV", b"1\n2\n"),
        ("INSERT INTO t FORMAT CSV ", b"1\n2\n"),
        ("INSERT INTO t (a) VALUES", b"(1), (2)"),
        ("INSERT INTO t (a) FORMAT Values", b"(1), (1 + 1)"),
        ("INSERT INTO t (a) SELECT number + 1 FROM numbers(2)", b""),
        ("", b"INSERT INTO t VALUES (1), (2);"),
        ("", b"INSERT INTO t FORMAT JSONEachRow\n" + b'{"a": 1}\n{"a": 2}\n'),
        ("", b"INSERT INTO t FORMAT RowBinary\n" + bytes([1, 0, 0, 0, 2, 0, 0, 0])),
        ("", b"-- FORMAT CSV\nINSERT INTO `t` (`a`) SETTINGS max_threads = 1 FORMAT TSV\n1\n2\n"),
        ("INSERT INTO {name:Identifier} FORMAT TSV", b"1\n2\n"),
    ],
)
def test_inserts(http: httpx.Client, query: str, body: bytes) -> None:
    text(http, "CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    parameters = {"param_name": "t"} | ({"query": query} if query else {})
    answer = http.post("/", params=parameters, content=body)
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    assert text(http, "SELECT a FROM t ORDER BY a") == "1\n2\n"


def test_a_bad_row_is_refused_with_its_block(http: httpx.Client) -> None:
    text(http, "CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    answer = run(http, "INSERT INTO t FORMAT CSV", b"1\nno\n")
    assert answer.status_code == 400
    assert text(http, "SELECT count() FROM t") == "0\n"


@pytest.mark.parametrize("encoding", CODECS)
def test_compressed_bodies(http: httpx.Client, encoding: str) -> None:
    text(http, "CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    body = bytes(CODECS[encoding].compress(b"1\n2\n"))
    query = {"query": "INSERT INTO t FORMAT TSV"}
    headers = {"Content-Encoding": encoding}
    assert http.post("/", params=query, content=body, headers=headers).status_code == 200
    assert text(http, "SELECT sum(a) FROM t") == "3\n"
    damaged = http.post("/", params=query, content=b"plain", headers=headers)
    assert damaged.headers["X-ClickHouse-Exception-Code"] == "271"

    long = {"query": "SELECT number FROM numbers(1000000)", "enable_http_compression": "1"}
    with http.stream("GET", "/", params=long, headers={"Accept-Encoding": encoding}) as answer:
        assert answer.headers["Content-Encoding"] == encoding
        packed = b"".join(answer.iter_raw())
    plain = bytes(CODECS[encoding].decompress(packed))
    assert plain == b"".join(b"%d\n" % number for number in range(1_000_000))


def test_the_engines_own_framing(http: httpx.Client) -> None:
    text(http, "CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    rows = b"".join(b"%d\n" % number for number in range(300_000))
    framed = Frames().feed(rows)
    assert run(http, "INSERT INTO t FORMAT TSV", framed, decompress="1").status_code == 200
    answer = run(http, "SELECT a FROM t ORDER BY a", compress="1")
    assert unframe(answer.content) == rows
    cut_off = run(http, "INSERT INTO t FORMAT TSV", framed[:-1], decompress="1")
    assert cut_off.headers["X-ClickHouse-Exception-Code"] == "271"


def test_an_error_in_the_middle_is_marked(http: httpx.Client) -> None:
    answer = run(http, "SELECT number, throwIf(number = 900000) FROM numbers(1000000)")
    assert answer.status_code == 200
    mark = answer.headers["X-ClickHouse-Exception-Tag"].encode()
    assert b"\r\n__exception__\r\n" + mark in answer.content
    assert answer.content.endswith(mark + b"\r\n__exception__\r\n")


def test_a_client_that_hangs_up_ends_its_statement(http: httpx.Client) -> None:
    endless = {"query": "SELECT number AS endless FROM numbers(1000000000000)"}
    with http.stream("POST", "/", params=endless) as answer:
        next(answer.iter_raw())
    running = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT number AS endless%'"
    for _ in range(1000):
        if text(http, running) == "0\n":
            break
    else:
        pytest.fail("the statement goes on")


async def test_statements_run_side_by_side(stack: Stack) -> None:
    slow = {"query": "SELECT sleepEachRow(1) FROM numbers(2) SETTINGS max_block_size = 1"}
    async with httpx.AsyncClient(base_url=stack.clickhouse, timeout=60) as client:
        waiting = asyncio.create_task(client.post("/", params=slow))
        for _ in range(20):
            assert (await client.post("/", content=b"SELECT 1")).text == "1\n"
        assert not waiting.done()
        assert (await waiting).status_code == 200


def test_curl(stack: Stack, clickhouse_database: str) -> None:
    place = f"{stack.clickhouse}/?database={clickhouse_database}"
    for statement in (
        "CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a",
        "INSERT INTO t VALUES (1), (2)",
    ):
        subprocess.run(("curl", "-sSf", place, "--data-binary", statement), check=True)
    asked = ("curl", "-sSf", "-G", place, "--data-urlencode", "query=SELECT sum(a) FROM t")
    assert subprocess.run(asked, check=True, capture_output=True).stdout == b"3\n"


def test_what_was_answered_survives_a_kill(stack: Stack, http: httpx.Client) -> None:
    text(http, "CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    for number in range(50):
        assert run(http, "INSERT INTO t FORMAT TSV", b"%d\n" % number).status_code == 200
    stack.stop("clickhouse", signal.SIGKILL)
    with pytest.raises(httpx.TransportError):
        http.get("/ping")
    stack.start("clickhouse")
    assert text(http, "SELECT count(), sum(a) FROM t") == "50\t1225\n"
    stack.stop("clickhouse")
    stack.start("clickhouse")
    assert text(http, "SELECT count(), sum(a) FROM t") == "50\t1225\n"

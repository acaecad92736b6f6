"""The engine of the `chdb` wheel: one per process, any number of statements at a time.

Every request gets a connection of its own (0.2 ms), because settings, parameters and the current
database belong to a connection; they run in parallel, and reads see no lock of inserts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chdb

from compose.local.clickhouse_http.statement import Insert, Query, parse

DEFAULT_FORMAT = "TabSeparated"
# The engine gives a result block by block, each written as a whole document of its format. These
# are the formats in which such documents, one after the other, are one longer document.
_STREAMED = frozenset(
    {
        "native",
        "rowbinary",
        "tabseparated",
        "tabseparatedraw",
        "tsv",
        "tsvraw",
        "tskv",
        "csv",
        "jsoneachrow",
        "jsoncompacteachrow",
        "ndjson",
        "jsonlines",
        "lineasstring",
        "rawblob",
    }
)
_APPEND_SIZE_BYTES = 16 << 20
_CODE = re.compile(r"Code: (\d+)\..*", re.DOTALL)
# An error's text ends with its name, perhaps followed by the version in parentheses.
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)")
_SETTING = re.compile(r"[A-Za-z_]\w*\Z")
_SYNTAX_ERROR, _UNKNOWN_SETTING, _STD_EXCEPTION = 62, 115, 1001

# The wheel has no types.
_connect: Callable[[str], Any] = chdb.connect


class EngineError(Exception):
    """What the engine answered instead of a result."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.name = name

    @classmethod
    def of(cls, error: Exception) -> EngineError:
        """The engine's error code, name and text out of its Python exception."""
        match = _CODE.search(str(error))
        if match is None:
            return refuse(_STD_EXCEPTION, "STD_EXCEPTION", str(error))
        names = _NAME.findall(match.group(0))
        return cls(int(match.group(1)), names[-1] if names else "", match.group(0).strip())


def refuse(code: int, name: str, why: str) -> EngineError:
    """An error of the endpoint itself, in the engine's words."""
    return EngineError(code, name, f"Code: {code}. DB::Exception: {why}. ({name})")


@dataclass(frozen=True)
class Call:
    """One statement with what it is to be run under."""

    text: bytes
    """The statement, and after it an INSERT's data."""
    database: str = ""
    default_format: str = DEFAULT_FORMAT
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Values for {name:Type}, escaped as in TabSeparated."""


@dataclass
class Answer:
    """A result; the counters grow while `pieces` is read."""

    format: str
    pieces: Iterator[bytes]
    rows_read: int = 0
    bytes_read: int = 0
    rows_written: int = 0
    bytes_written: int = 0


class Engine:
    """Opens the folder; raises whatever the engine says if it is in use or damaged."""

    def __init__(self, folder: Path) -> None:
        self._path = str(folder)
        # The engine lives as long as its last connection: this one.
        self._keep = _connect(self._path)

    def close(self) -> None:
        """Write out what is open; ends the engine once running statements are done."""
        self._keep.close()

    def run(self, call: Call) -> Answer:
        """Start a statement; raises EngineError. Blocks: call it in a thread.

        The connection stays open until the answer's pieces are read or closed.
        """
        statement = parse(call.text)
        if not statement.sql:
            raise refuse(_SYNTAX_ERROR, "SYNTAX_ERROR", "Empty query")
        connection = _connect(self._path)
        try:
            _prepare(connection, call)
            if isinstance(statement, Insert):
                return _insert(connection, statement, call)
            return _query(connection, statement, call)
        except (RuntimeError, chdb.ChdbError) as error:
            connection.close()
            raise EngineError.of(error) from error
        except BaseException:
            connection.close()
            raise


def literal(value: str) -> str:
    """The value as an SQL string."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _prepare(connection: Any, call: Call) -> None:
    if call.database:
        name = call.database.replace("\\", "\\\\").replace("`", "\\`")
        connection.query(f"USE `{name}`")
    settings = dict(call.settings)
    # Last, because it forbids the others.
    readonly = settings.pop("readonly", None)
    settings.update({f"param_{name}": value for name, value in call.parameters.items()})
    for name in settings:
        if not _SETTING.match(name):
            raise refuse(_UNKNOWN_SETTING, "UNKNOWN_SETTING", f"Unknown setting '{name}'")
    if settings:
        pairs = ", ".join(f"{name} = {literal(value)}" for name, value in settings.items())
        connection.query(f"SET {pairs}")
    if readonly is not None:
        connection.query(f"SET readonly = {literal(readonly)}")


def _insert(connection: Any, statement: Insert, call: Call) -> Answer:
    data_format = statement.format or call.default_format
    with connection.send_insert(statement.sql, data_format) as insert:
        data = memoryview(call.text)[statement.data_start :]
        for start in range(0, len(data), _APPEND_SIZE_BYTES):
            insert.append(data[start : start + _APPEND_SIZE_BYTES])
        written = insert.finish()
    connection.close()
    rows, size = written.rows_written, written.bytes_written
    return Answer(data_format, iter(()), rows, size, rows, size)


def _query(connection: Any, statement: Query, call: Call) -> Answer:
    result_format = statement.format or call.default_format
    if statement.reads and result_format.lower() in _STREAMED:
        answer = Answer(result_format, iter(()))
        answer.pieces = _stream(connection, statement.sql, answer)
        return answer
    result = connection.query(statement.sql, result_format)
    answer = Answer(result_format, iter((result.bytes(),)))
    answer.rows_read, answer.bytes_read = result.storage_rows_read(), result.storage_bytes_read()
    answer.rows_written, answer.bytes_written = result.rows_written(), result.bytes_written()
    connection.close()
    return answer


def _stream(connection: Any, sql: str, answer: Answer) -> Iterator[bytes]:
    """The result's blocks; closing the generator cancels the statement."""
    try:
        with connection.send_query(sql, answer.format) as blocks:
            for block in blocks:
                answer.rows_read = max(answer.rows_read, block.storage_rows_read())
                answer.bytes_read = max(answer.bytes_read, block.storage_bytes_read())
                yield block.bytes()
    except (RuntimeError, chdb.ChdbError) as error:
        raise EngineError.of(error) from error
    finally:
        connection.close()

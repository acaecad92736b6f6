"""Where a statement ends and its data begins.

A request's text is the `query` parameter, a newline and the body. For `INSERT … FORMAT X` and
`INSERT … VALUES` the rest is data, perhaps binary, so it must not be read as SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# A server reads no more than this of a statement (its default max_query_size).
STATEMENT_SIZE_BYTES_MAX = 262_144

_TOKEN = re.compile(
    rb"""
    (?P<skip>\s+|--[^\n]*|\#!?[^\n]*|/\*.*?\*/)
  | (?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`
      |\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<other>.)
    """,
    re.DOTALL | re.VERBOSE,
)
_DATA_START = re.compile(rb"[ \t\f]*;?[ \t\f]*(?:\r?\n)?")
_BEFORE_TABLE = frozenset({b"INSERT", b"INTO", b"TABLE", b"FUNCTION", b"."})
_READS = frozenset({b"SELECT", b"WITH"})
# After these an INSERT takes its rows from elsewhere than the request.
_NO_DATA = frozenset({b"SELECT", b"WITH", b"FROM", b"WATCH"})


class Insert(NamedTuple):
    """An INSERT whose rows come with the request."""

    sql: str
    """The statement without FORMAT or VALUES."""
    format: str | None
    """The data's format; None when the statement does not say."""
    data_start: int
    """Index of the first byte of data in the text."""


class Query(NamedTuple):
    """Any other statement."""

    sql: str
    format: str | None
    """The result's format as the statement says; None when it does not."""
    reads: bool
    """Whether it is a SELECT, whose result can be long."""


class _Token(NamedTuple):
    word: bytes
    """In capitals; empty for what is not a word."""
    text: bytes
    start: int
    end: int
    depth: int


def parse(text: bytes) -> Insert | Query:
    """Read the statement at the start of `text`."""
    tokens = _tokens(text)
    first = next(tokens, None)
    if first is not None and first.word == b"INSERT":
        insert = _insert(text, tokens)
        if insert is not None:
            return insert
    return _query(text, first)


def _tokens(text: bytes) -> Iterator[_Token]:
    depth = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "skip":
            continue
        token = match.group()
        if token in b")]}":
            depth -= 1
        word = token.upper() if kind == "word" else b""
        yield _Token(word, token, match.start(), match.end(), depth)
        if token in b"([{":
            depth += 1


def _insert(text: bytes, tokens: Iterator[_Token]) -> Insert | None:
    """The INSERT with its data, or None when it takes no data from the request."""
    before = b"INSERT"
    for token in tokens:
        if token.start > STATEMENT_SIZE_BYTES_MAX:
            break
        # A table may be called anything, `values` too.
        named, before = before in _BEFORE_TABLE, token.text.upper()
        if token.depth or named:
            continue
        if token.word in _NO_DATA:
            return None
        if token.word == b"VALUES":
            return Insert(_text(text[: token.start]), "Values", token.end)
        if token.word == b"FORMAT":
            name = next(tokens, None)
            if name is None or not name.word:
                return None
            if name.word == b"VALUES":
                return Insert(_text(text[: token.start]), "Values", name.end)
            start = _DATA_START.match(text, name.end)
            data_start = start.end() if start else name.end
            return Insert(_text(text[: token.start]), name.text.decode(), data_start)
    return Insert(_text(text).rstrip(";"), None, len(text))


def _query(text: bytes, first: _Token | None) -> Query:
    sql = _text(text).rstrip("; \t\r\n")
    reads = first is not None and (first.word in _READS or first.text == b"(")
    return Query(sql, _format_of(text), reads)


def _format_of(text: bytes) -> str | None:
    """The name after the FORMAT that ends the statement, if one does."""
    tokens = [token for token in _tokens(text) if not token.depth and token.text != b";"]
    for index in range(len(tokens) - 2, -1, -1):
        if tokens[index].word == b"FORMAT" and tokens[index + 1].word:
            after = tokens[index + 2].word if index + 2 < len(tokens) else b"SETTINGS"
            if after in (b"SETTINGS", b"INTO"):
                return tokens[index + 1].text.decode()
    return None


def _text(sql: bytes) -> str:
    return sql.decode("utf-8", "surrogateescape").strip()

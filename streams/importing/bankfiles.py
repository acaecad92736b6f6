"""MT940 and OFX, read by the package bankfile (which builds on mt-940).

That reader forgives what banks get wrong and says so. Here money is at stake, so whatever it
could not read stops the import; what it merely remarks is passed on.
"""

from __future__ import annotations

import re

import bankfile

from streams.importing.statement import (
    Entry,
    Problem,
    Statement,
    UnreadableStatement,
    reference_or_none,
)

MT940_ENTRY = re.compile(rb"^:61:(?P<rest>.*)$", re.M)
MT940_FIELDS = (
    ("value date", re.compile(rb"\d{6}")),
    ("entry date", re.compile(rb"(\d{4})?")),
    ("debit/credit mark", re.compile(rb"(E?[CD]|R[CD])[A-Z]?")),
    ("amount", re.compile(rb"\d[\d\s]*,\d*")),
)
"""The beginning of a :61: line as SWIFT lays it out, field by field."""

STOPPING_RULES = frozenset({"amount", "date"})
STOPPING_FIELDS = frozenset({"STMTTRN", "STMTRS", "account_identification", "currency"})


def read_bankfile(data: bytes) -> Statement:
    """The entries of a file that holds one account. Raises UnreadableStatement."""
    try:
        parsed = bankfile.parse_bytes(data)
    except bankfile.UnknownFormatError as error:
        raise UnreadableStatement([Problem(1, "format", str(error))]) from error
    problems = [
        Problem(_line_of(data, warning.value), warning.field or "file", warning.message)
        for warning in parsed.warnings
        if warning.rule in STOPPING_RULES or warning.field in STOPPING_FIELDS
    ]
    lines = _lines(data, parsed.source.format)
    if parsed.source.format == "MT940":
        problems = _mt940_problems(data) or problems
    if not problems and len(lines) != len(parsed.transactions):
        message = f"{len(lines)} entries in the file, {len(parsed.transactions)} could be read"
        problems.append(Problem(None, "file", message))
    if problems:
        raise UnreadableStatement(problems)
    return Statement(
        format=parsed.source.format,
        account=parsed.account,
        entries=tuple(
            _entry(line, read) for line, read in zip(lines, parsed.transactions, strict=True)
        ),
        remarks=tuple(warning.message for warning in parsed.warnings),
    )


def _entry(line: int, read: bankfile.Transaction) -> Entry:
    return Entry(
        line=line,
        booked=read.booking_date or read.date,
        amount=read.amount,
        currency=read.currency,
        reference=reference_or_none(read.bank_reference) or reference_or_none(read.reference),
        valued=read.date,
        counterparty=read.counterparty_name,
        description=read.purpose,
    )


def _lines(data: bytes, form: str) -> list[int]:
    """Where each entry starts."""
    mark = MT940_ENTRY if form == "MT940" else re.compile(rb"<STMTTRN>", re.I)
    return [_line_at(data, found.start()) for found in mark.finditer(data)]


def _mt940_problems(data: bytes) -> list[Problem]:
    """The first field of each :61: line that is not as SWIFT lays it out."""
    problems = []
    for found in MT940_ENTRY.finditer(data):
        rest, at = found["rest"], 0
        for name, layout in MT940_FIELDS:
            match = layout.match(rest, at)
            if match is None:
                shown = rest[at : at + 15].decode("latin-1")
                line = _line_at(data, found.start())
                problems.append(Problem(line, f":61: {name}", f"cannot be read in {shown!r}"))
                break
            at = match.end()
    return problems


def _line_of(data: bytes, value: str | None) -> int | None:
    """Where a value that the reader complained of first stands."""
    at = data.find(value.encode()) if value else -1
    return _line_at(data, at) if at >= 0 else None


def _line_at(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1

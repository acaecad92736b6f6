"""CSV as banks export it: columns by name, signs or two columns, both decimal marks."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from io import StringIO
from typing import TypeVar

from streams.importing.statement import (
    Entry,
    Problem,
    Statement,
    UnreadableStatement,
    reference_or_none,
)

T = TypeVar("T")

FIELD_CHARACTERS_MAX = 8_192
"""Longer than any field of a statement; a lost quote would otherwise swallow the whole file."""


def _number_shape(mark: str, separators: str) -> re.Pattern[str]:
    """Groups of three digits, or of two before the last three (lakhs), or none at all.

    Strict, because a mistaken decimal mark would make a thousand of a one.
    """
    return re.compile(
        r"\+?(?P<sign>-?)"
        rf"(?P<whole>\d{{1,20}}|\d{{1,3}}(?P<gap>[{separators}])(?:\d{{2,3}}(?P=gap))*\d{{3}})"
        rf"(?:\{mark}(?P<fraction>\d{{1,18}}))?"
    )


NUMBERS = {
    ".": _number_shape(".", ",' \u00a0\u202f"),
    ",": _number_shape(",", ".' \u00a0\u202f"),
}
"""By decimal mark."""

USUAL_NAMES = {
    "date": ("date", "booking date", "posting date", "transaction date", "buchungstag"),
    "valued": ("value date", "valuta"),
    "amount": ("amount", "betrag", "transaction amount"),
    "debit": ("debit", "withdrawal", "withdrawal amt.", "money out", "paid out"),
    "credit": ("credit", "deposit", "deposit amt.", "money in", "paid in"),
    "reference": ("reference", "bank reference", "transaction id", "ref no./cheque no."),
    "counterparty": ("counterparty", "name", "payee", "beneficiary"),
    "description": ("description", "narration", "details", "memo", "purpose"),
    "currency": ("currency", "ccy"),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read the file. `columns` maps a field of USUAL_NAMES to the header's own name.

    `date_format` is strptime's; without it dates are ISO 8601. `decimal` is the decimal mark.
    """

    columns: dict[str, str]
    delimiter: str | None = None
    date_format: str | None = None
    decimal: str = "."


def read_csv(data: bytes, layout: Layout) -> Statement:
    """The entries of a file with one header line. Raises UnreadableStatement."""
    text = _decode(data)
    csv.field_size_limit(FIELD_CHARACTERS_MAX)
    header_line = text.split("\n", 1)[0]
    delimiter = layout.delimiter or max(";,\t|", key=header_line.count)
    rows = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    problems: list[Problem] = []
    entries: list[Entry] = []
    try:
        header = [name.strip() for name in next(rows, [])]
        at = _columns(header, layout.columns)
        for row in rows:
            if any(cell.strip() for cell in row):
                entry = _Row(rows.line_num, row, at, layout, problems).entry()
                if entry is not None:
                    entries.append(entry)
    except csv.Error as error:
        problems.append(Problem(rows.line_num, "row", str(error)))
    if problems:
        raise UnreadableStatement(problems)
    return Statement("CSV", None, tuple(entries))


def _decode(data: bytes) -> str:
    """UTF-8, else the Windows code page that spreadsheets write."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _columns(header: list[str], named: dict[str, str]) -> dict[str, int]:
    """Which column holds which field; complains of what is asked for or needed and not there."""
    by_name = {name.lower(): index for index, name in reversed(list(enumerate(header)))}
    problems = []
    at: dict[str, int] = {}
    for field, usual in USUAL_NAMES.items():
        wanted = named.get(field)
        names = (wanted.lower(),) if wanted else usual
        found = next((by_name[name] for name in names if name in by_name), None)
        if found is not None:
            at[field] = found
        elif wanted:
            problems.append(Problem(1, field, f"the header has no column {wanted!r}"))
    has = ", ".join(header) or "nothing"
    if "date" not in at:
        problems.append(
            Problem(1, "date", f"no such column; name it with --column (header: {has})")
        )
    if "amount" not in at and not ("debit" in at or "credit" in at):
        message = f"no such column, nor debit and credit; name it with --column (header: {has})"
        problems.append(Problem(1, "amount", message))
    if problems:
        raise UnreadableStatement(problems)
    return at


class _Row:
    """One row being read: every field that cannot be read is noted, then the row is given up."""

    def __init__(
        self,
        line: int,
        cells: list[str],
        at: dict[str, int],
        layout: Layout,
        problems: list[Problem],
    ) -> None:
        self._line = line
        self._cells = cells
        self._at = at
        self._layout = layout
        self._problems = problems

    def entry(self) -> Entry | None:
        found = len(self._problems)
        booked = self._read("date", self._day)
        valued = self._read("valued", self._day)
        amount = self._read("amount", self._number)
        if amount is None and not self._cell("amount"):
            credit, debit = self._read("credit", self._number), self._read("debit", self._number)
            if credit is not None or debit is not None:
                amount = (credit or Decimal(0)) - abs(debit or Decimal(0))
        for field, value in (("date", booked), ("amount", amount)):
            if value is None and len(self._problems) == found:
                self._problems.append(Problem(self._line, field, "is missing"))
        if len(self._problems) > found or booked is None or amount is None:
            return None
        return Entry(
            line=self._line,
            booked=booked,
            amount=amount,
            currency=self._cell("currency"),
            reference=reference_or_none(self._cell("reference")),
            valued=valued,
            counterparty=self._cell("counterparty"),
            description=self._cell("description"),
        )

    def _cell(self, field: str) -> str | None:
        index = self._at.get(field)
        if index is None or index >= len(self._cells):
            return None
        return self._cells[index].strip() or None

    def _read(self, field: str, read: Callable[[str], T]) -> T | None:
        text = self._cell(field)
        if text is None:
            return None
        try:
            return read(text)
        except ValueError as error:
            self._problems.append(Problem(self._line, field, str(error)))
            return None

    def _day(self, text: str) -> date:
        form = self._layout.date_format
        try:
            return datetime.strptime(text, form).date() if form else date.fromisoformat(text)
        except ValueError:
            expected = form or "YYYY-MM-DD (give --date-format for another)"
            raise ValueError(f"{text!r} is not a date as {expected}") from None

    def _number(self, text: str) -> Decimal:
        mark = self._layout.decimal
        shape = NUMBERS[mark].fullmatch(text.replace("\u2212", "-"))
        if shape is None:
            raise ValueError(f"{text!r} is not an amount with decimal mark {mark!r}")
        digits = re.sub(r"\D", "", shape["whole"])
        return Decimal(f"{shape['sign']}{digits}.{shape['fraction'] or ''}")

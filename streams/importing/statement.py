"""What every format comes down to: dated, signed amounts with the bank's own words."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

NO_REFERENCE = frozenset({"", "NONREF", "NOTPROVIDED", "NOTAVAILABLE"})
"""How the formats write that the bank gave no reference (ISO 20022, SWIFT)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file that cannot be read: where, which field, why."""

    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}, " if self.line is not None else ""
        return f"{where}{self.field}: {self.message}"


class UnreadableStatement(Exception):
    """The file is not a statement that can be imported as a whole; nothing was sent."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("; ".join(str(problem) for problem in problems))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a statement. `amount` is signed: what left the account is below zero.

    `reference` is the bank's own name for the entry, or None; `line` is where it stands.
    """

    line: int | None
    booked: date
    amount: Decimal
    currency: str | None
    reference: str | None = None
    valued: date | None = None
    counterparty: str | None = None
    description: str | None = None
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """The entries of one account, in the file's order, and remarks that stop nothing."""

    format: str
    account: str | None
    entries: tuple[Entry, ...]
    remarks: tuple[str, ...] = field(default=())


def reference_or_none(text: str | None) -> str | None:
    """The bank's reference, None where the format says that there is none."""
    stripped = (text or "").strip()
    return None if stripped.upper() in NO_REFERENCE else stripped

"""From the entries of a statement to the drafts of postings, with ids that never change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal
from uuid import UUID, uuid5

from schemas.envelope import Draft
from schemas.numbers import CURRENCIES, minor_units, plain
from streams.importing.statement import Entry, Problem, Statement, UnreadableStatement

SOURCE = "/import/bank-statement"
NAMESPACE = UUID("6f0e1a52-8c1e-5d0b-9a54-3d1f9b6b7c10")
"""Of all ids that imports give. Changing it would import every statement anew."""

NOON = time(12, tzinfo=UTC)
"""Statements name days, not moments. Noon UTC is on that day nearly everywhere."""


def postings(statement: Statement, *, account: str, user: str, currency: str | None) -> list[Draft]:
    """A draft of `bfc.transaction.posted` per entry, in the statement's order.

    `currency` is the account's; a file that names another is refused. The id follows from the
    account, the bank's reference (else its words), the date, the amount, and, of entries alike
    in all that, which one in the file it is: so the same statement, or a longer one that holds
    it, gives the same ids again. Raises UnreadableStatement.
    """
    problems: list[Problem] = []
    settled = currency or next((one.currency for one in statement.entries if one.currency), None)
    if settled not in CURRENCIES:
        message = f"{settled} is not an ISO 4217 code" if settled else "give --currency"
        raise UnreadableStatement([Problem(None, "currency", message)])
    for entry in statement.entries:
        if entry.currency not in (None, settled):
            message = f"{entry.currency}, but the account is in {settled}"
            problems.append(Problem(entry.line, "currency", message))
        if _decimals(entry.amount) > minor_units(settled):
            message = f"{entry.amount:f} has more decimals than {settled}: a wrong decimal mark?"
            problems.append(Problem(entry.line, "amount", message))
    if problems:
        raise UnreadableStatement(problems)
    return [
        _draft(entry, identity, account, user, settled)
        for entry, identity in _identities(statement.entries, account)
        if entry.amount
    ]


def _decimals(amount: Decimal) -> int:
    """Digits after the point that are not closing zeros."""
    _, _, fraction = plain(amount).partition(".")
    return len(fraction)


def _identities(entries: tuple[Entry, ...], account: str) -> Iterator[tuple[Entry, UUID]]:
    seen: Counter[str] = Counter()
    for entry in entries:
        told = entry.reference or f"{entry.counterparty or ''}|{entry.description or ''}"
        status = "pending" if entry.pending else "posted"
        likeness = f"{account}|{told}|{entry.booked}|{plain(entry.amount)}|{status}"
        seen[likeness] += 1
        yield entry, uuid5(NAMESPACE, f"{likeness}|{seen[likeness]}")


def _draft(entry: Entry, identity: UUID, account: str, user: str, currency: str) -> Draft:
    data = {
        "transaction": f"imp_{identity.hex}",
        "account": account,
        "direction": "credit" if entry.amount > 0 else "debit",
        "amount": f"{abs(entry.amount):f}",
        "currency": currency,
        "status": "pending" if entry.pending else "posted",
        "counterparty": entry.counterparty,
        "description": entry.description,
        "reference": entry.reference,
        "valueDate": entry.valued.isoformat() if entry.valued else None,
    }
    return Draft(
        type="bfc.transaction.posted.v1",
        source=SOURCE,
        data={name: value for name, value in data.items() if value is not None},
        user_id=user,
        subject=account,
        time=datetime.combine(entry.booked, NOON),
        id=str(identity),
    )

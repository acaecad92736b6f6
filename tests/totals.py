"""A small projection for tests of the engine: a balance per account, and what it derives."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from projections.rows import Rows
from projections.tables import Row, Table, Want
from schemas.envelope import Draft, Event, derived_id

DDL = """
create table totals (user_id text, account text, total numeric not null, entries bigint not null,
    notes jsonb not null, primary key (user_id, account))
"""


class Total(Row, frozen=True):
    user_id: str
    account: str
    total: Decimal
    entries: int
    notes: tuple[str, ...]


TOTALS = Table("totals", Total, key=("user_id", "account"), unit=1)

#: Amounts that the toy treats in special ways.
REFUSED = Decimal("666")
RAISES = Decimal("667")
TOO_LONG = Decimal("668")


class Totals:
    """Adds up postings; derives an action from each of more than a thousand."""

    name = "totals"
    version = 1
    topics = ("bfc.ledger",)
    types = frozenset({"bfc.transaction.posted"})
    tables = (TOTALS,)
    follows_commands = False

    def wants(self, event: Event) -> Iterable[Want]:
        return [Want(TOTALS, (event.user_id,))]

    def fold(self, rows: Rows, event: Event) -> None:
        data = event.data
        row = rows.get(TOTALS, event.user_id, data.account)
        before = row or Total(event.user_id or "", data.account, Decimal(0), 0, ())
        rows.put(TOTALS, _after(before, event))
        if data.amount == REFUSED:
            rows.refuse("data.amount", "is refused")
        if data.amount == RAISES:
            raise ZeroDivisionError("a bug")
        if data.amount > 1000:
            rows.emit(self.derived(event))

    def derived(self, event: Event) -> Draft:
        """What a large posting brings about."""
        data = {"step": "seen", "session": "s", "action": "big", "platform": "web"}
        return Draft(
            type="journey.step.recorded.v1",
            source="/tests",
            id=derived_id("totals", 1, event),
            data={**data, "properties": {}},
            time=event.time,
            user_id=event.user_id,
        )


class HungryTotals(Totals):
    """The same without saying in advance what it will read."""

    def wants(self, event: Event) -> Iterable[Want]:
        return []


def _after(before: Total, event: Event) -> Total:
    amount = event.data.amount
    # A NUL is a text that PostgreSQL refuses (SQLSTATE 22021).
    note = "\0" if amount == TOO_LONG else event.id
    return Total(
        before.user_id,
        before.account,
        before.total + (amount if event.data.direction == "credit" else -amount),
        before.entries + 1,
        (*before.notes, note),
    )

"""The peer job as a projection, against the interface that all projections have."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from projections.columnar import last_of, sums_of
from projections.rows import Rows
from projections.tables import Row, Table, Want
from schemas.columns import Columns
from schemas.envelope import Event
from schemas.events.bank import TransactionPosted


class Account(Row, frozen=True):
    """The latest balance of an account."""

    user_id: str
    account_id: str
    balance: Decimal
    currency: str
    updated_at: datetime
    last_event_id: str


class Total(Row, frozen=True):
    """What a person spent (negative) or got in a category in a month."""

    user_id: str
    month: date
    category: str
    total: Decimal
    entries: int


class Transaction(Row, frozen=True):
    """One posting, by its place in the log: the engine has told repetitions by their ids."""

    user_id: str
    partition: int
    offset: int
    event_id: str
    account_id: str
    happened_at: datetime
    amount: Decimal
    currency: str
    category: str
    merchant: str
    balance_after: Decimal


ACCOUNTS = Table("peer_accounts", Account, key=("user_id", "account_id"), unit=2)
TOTALS = Table(
    "peer_totals",
    Total,
    key=("user_id", "month", "category"),
    unit=3,
    sums=("total", "entries"),
)
TRANSACTIONS = Table(
    "peer_transactions",
    Transaction,
    key=("partition", "offset"),
    unit=2,
    appended=True,
)


class Peer:
    """Latest balances, totals of a person's months, and a row for each posting."""

    name = "peer"
    version = 1
    topics = ("bfc.ledger",)
    types = frozenset({"bfc.transaction.posted"})
    column_types = types
    tables = (ACCOUNTS, TOTALS, TRANSACTIONS)
    follows_commands = False

    def wants(self, event: Event) -> Iterable[Want]:
        return ()

    def fold(self, rows: Rows, event: Event) -> None:
        data: TransactionPosted = event.data
        if data.balance_after is None or data.category is None or data.merchant is None:
            rows.refuse("data", "must have balanceAfter, category and merchant")
        user, at, place = event.user_id or "", event.time, event.position
        account, currency, category = data.account, data.currency, data.category
        amount = data.amount if data.direction == "credit" else -data.amount
        balance = data.balance_after
        rows.put(ACCOUNTS, Account(user, account, balance, currency, at, event.id))
        rows.add(TOTALS, Total(user, date(at.year, at.month, 1), category, amount, 1))
        where = (place.partition, place.offset, event.id)
        what = (account, at, amount, currency, category, data.merchant, balance)
        rows.append(TRANSACTIONS, Transaction(user, *where, *what))

    def fold_columns(self, rows: Rows, columns: Columns) -> None:
        table = columns.table
        if any(table[name].null_count for name in ("balance_after", "category", "merchant")):
            rows.refuse("data", "must have balanceAfter, category and merchant")
        amounts = table["amount"]
        signed = pc.if_else(pc.equal(table["direction"], "credit"), amounts, pc.negate(amounts))
        months = pc.floor_temporal(table["time"], unit="month").cast(pa.date32())
        table = table.append_column("signed", signed).append_column("month", months)
        last = last_of(table, ("user_id", "account"))
        rows.write(ACCOUNTS, _named(Account, last, ACCOUNT_COLUMNS))
        sums = sums_of(table, ("user_id", "month", "category"), "signed")
        rows.write(TOTALS, _named(Total, sums, TOTAL_COLUMNS))
        table = table.append_column("partition", pa.repeat(columns.partition, table.num_rows))
        rows.write(TRANSACTIONS, _named(Transaction, table, TRANSACTION_COLUMNS))


#: The columns of events, and what was made of them, in the order of the rows' fields.
ACCOUNT_COLUMNS = ["user_id", "account", "balance_after", "currency", "time", "id"]
TOTAL_COLUMNS = ["user_id", "month", "category", "signed_sum", "signed_count"]
TRANSACTION_COLUMNS = [
    "user_id",
    "partition",
    "offset",
    "id",
    "account",
    "time",
    "signed",
    "currency",
    "category",
    "merchant",
    "balance_after",
]


def _named(row: type[Row], table: pa.Table, columns: list[str]) -> pa.Table:
    return table.select(columns).rename_columns(row.__struct_fields__)

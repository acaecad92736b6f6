"""What a careful user gathers of some events before writing them in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

Transaction = tuple[str, str, str, datetime, Decimal, str, str, str, Decimal]


@dataclass
class Batch:
    """Rows of some events: postings one by one, balances and totals folded together."""

    transactions: list[Transaction] = field(default_factory=list)
    #: By account: balance, currency, time, event id.
    accounts: dict[str, tuple[Decimal, str, datetime, str]] = field(default_factory=dict)
    #: By person, month and category: sum and number.
    totals: dict[tuple[str, date, str], tuple[Decimal, int]] = field(default_factory=dict)
    #: By partition: where to go on.
    ends: dict[int, int] = field(default_factory=dict)

    def add_json(self, partition: int, offset: int, event: dict[str, Any]) -> None:
        """Fold an event as any JSON reader sees it."""
        data = event["data"]
        amount = Decimal(data["amount"])
        self.add(
            partition,
            offset,
            (
                event["id"],
                event["userid"],
                data["account"],
                datetime.fromisoformat(event["time"]),
                amount if data["direction"] == "credit" else -amount,
                data["currency"],
                data["category"],
                data["merchant"],
                Decimal(data["balanceAfter"]),
            ),
        )

    def add(self, partition: int, offset: int, row: Transaction) -> None:
        """Fold one posting."""
        event_id, user, account, at, amount, currency, category, _, balance = row
        self.transactions.append(row)
        self.accounts[account] = balance, currency, at, event_id
        key = user, date(at.year, at.month, 1), category
        total, entries = self.totals.get(key, (Decimal(0), 0))
        self.totals[key] = total + amount, entries + 1
        self.ends[partition] = offset + 1

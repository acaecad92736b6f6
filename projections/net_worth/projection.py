"""Net worth as a projection: what it reads, what it keeps, and its fold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from projections.net_worth.fold import STEPS
from projections.net_worth.tables import ENTRIES, POSITIONS, TABLES
from projections.rows import Rows
from projections.tables import Key, Table, Want
from schemas.envelope import Event

_OF_POSITIONS = frozenset({"vyomo.trade.executed", "vyomo.dividend.paid", "vyomo.split.applied"})


class NetWorth:
    """Accounts, balances by day, positions with their cost, prices and fixings.

    Prices and fixings meet a person's rows only on read: a tick touches one row, however many
    people hold the symbol.
    """

    name = "net_worth"
    version = 1
    topics: tuple[str, ...] = ("bfc.ledger", "vyomo.ledger", "market.prices", "market.fx")
    #: A reported position is not among them: it overwrites nothing.
    types = frozenset(STEPS)
    tables: tuple[Table[Any], ...] = TABLES
    follows_commands = False

    def wants(self, event: Event) -> Iterable[Want]:
        """Rows that folding this event will read."""
        return STEPS[event.type].wants(event)

    def foresee(self, rows: Rows, events: Sequence[Event]) -> Iterable[Want]:
        """All entries of the positions that an event of this batch comes late for."""
        last: dict[Key, tuple[datetime, int]] = {}
        for event in events:
            if event.type not in _OF_POSITIONS:
                continue
            key = (event.user_id, event.data.account, event.data.symbol)
            place = (event.time, event.position.offset)
            if key not in last:
                position = rows.get(POSITIONS, *key)
                last[key] = (position.last_time, position.last_offset) if position else place
            if place < last[key]:
                yield Want(ENTRIES, key)
            else:
                last[key] = place

    def fold(self, rows: Rows, event: Event) -> None:
        """Apply one event.

        Raises:
            Refused: a posting in another currency than its account's, a second opening of an
                account, or a change that an account can't take.
        """
        STEPS[event.type].fold(rows, event)

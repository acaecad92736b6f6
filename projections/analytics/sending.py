"""Rows on their way into the store: encoded, sent, and the ones it can't take singled out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from projections.analytics.append import AppendStore, AppendTable, Flush, Values
from projections.analytics.gather import Gathered, letters_at
from projections.analytics.tables import EVENTS
from projections.backoff import Report, Sleep, until_available
from projections.batch import Batch, Move
from projections.store import RowsRefused
from schemas.position import Position

Blocks = dict[AppendTable, bytes]

logger = logging.getLogger(__name__)


class Sending:
    """Sends rows until the store has them, however long it is away."""

    def __init__(
        self, store: AppendStore, sleep: Sleep = asyncio.sleep, report: Report | None = None
    ) -> None:
        self._store = store
        self._sleep = sleep
        self._report = report

    async def encode(self, gathered: Gathered, batches: Sequence[Batch]) -> Blocks:
        """Each table's rows as a block, in a thread beside the event loop.

        An event with a row that doesn't fit its column becomes a dead letter before anything is
        sent: it keeps its row in ``events``, and no other.
        """
        blocks: Blocks = {}
        for table in list(gathered.rows):
            rows = gathered.rows[table]
            try:
                blocks[table] = await asyncio.to_thread(self._store.encode, table, rows)
            except RowsRefused:
                reasons = await asyncio.to_thread(self._unfit, table, rows)
                affected = [t for t in gathered.rows if t is not EVENTS or table is EVENTS]
                gathered.bury(letters_at(reasons, batches), affected)
                return await self.encode(gathered, batches)
        return {table: block for table, block in blocks.items() if gathered.rows[table]}

    def _unfit(self, table: AppendTable, rows: Sequence[Values]) -> dict[Position, str]:
        try:
            self._store.encode(table, rows)
        except RowsRefused as error:
            if len(rows) == 1:
                return {table.place(rows[0]): str(error)}
        else:
            return {}
        middle = len(rows) // 2
        return self._unfit(table, rows[:middle]) | self._unfit(table, rows[middle:])

    async def missing(self, moves: Sequence[Move], gathered: Gathered) -> Gathered:
        """What the store lacks of these rows, of which some in these ranges may be there.

        An insert takes effect month by month, each with its own token entry: a month is there as
        a whole or not at all. So what is missing of a flush is whole months, and goes under the
        first token: if their insert arrives late after all, one of the two is dropped. What is
        there isn't sent again, however long ago it was remembered.

        Raises:
            Unavailable: the store does not answer.
        """
        missing = Gathered()
        for table, rows in gathered.rows.items():
            lacking: list[Values] = rows
            if rows and not table.merges:
                there = await self._store.present(table, moves)
                lacking = [row for row in rows if table.place(row) not in there]
            if lacking:
                missing.rows[table] = lacking
        return missing

    async def send(
        self, flush: Flush, gathered: Gathered, blocks: Blocks, batches: Sequence[Batch]
    ) -> None:
        """Insert every block; afterwards ``gathered.letters`` has what the server refused.

        That is a row which fits its column and breaks a rule made on the server (a constraint,
        say). It alone is left out; other rows of its event stay.
        """
        for table, block in blocks.items():
            reasons = await self._insert(
                table, gathered.rows[table], block, flush.token(table.name)
            )
            if reasons:
                gathered.bury(letters_at(reasons, batches), [table])

    async def _insert(
        self, table: AppendTable, rows: Sequence[Values], block: bytes, token: str
    ) -> dict[Position, str]:
        try:
            await until_available(
                f"{table.name} takes {len(rows)} rows",
                lambda: self._store.send(table, block, token),
                self._sleep,
                self._report,
            )
        except RowsRefused as error:
            if len(rows) == 1:
                return {table.place(rows[0]): str(error)}
        else:
            return {}
        middle = len(rows) // 2
        reasons: dict[Position, str] = {}
        for half in (rows[:middle], rows[middle:]):
            # The halves are the same in every attempt, and so are their tokens.
            name = f"{token}:{table.place(half[0])}:{table.place(half[-1])}"
            reasons |= await self._insert(table, half, self._store.encode(table, half), name)
        return reasons

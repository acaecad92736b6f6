"""Group commit: what several lanes have to write at the same moment goes in one transaction.

A worker has a lane or two for each projection, and when little is to be done each of them has a
small commit to make some dozen times a second. What a transaction costs by itself is then most of
what is paid. So while one is under way the others gather, and go together when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from projections.rows import Changes, add_up
from projections.store import Commit, Fenced, RowsRefused

#: Rows and events that a commit may have to go with others; a larger one goes by itself at once,
#: beside them.
SMALL_ROWS_MAX = 500

#: Rows of a group at most, unless its first has more.
GROUP_ROWS_MAX = 2_000

Write = Callable[[Sequence[Commit]], Awaitable[None]]


@dataclass(eq=False)
class _Waiting:
    commit: Commit
    rows: int
    done: asyncio.Future[None]

    def end(self, error: Exception | None) -> None:
        if self.done.done():  # given up
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class GroupCommit:
    """Gathers commits; ``write`` applies several as a whole or none of them."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: list[_Waiting] = []
        self._group: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def commit(self, commit: Commit) -> None:
        """Return when it is written; raises what ``write`` raises for it alone.

        Given up by the caller, it may still be written.
        """
        rows = _rows_of(commit.changes)
        if rows > SMALL_ROWS_MAX:
            await self._write([commit])
            return
        waiting = _Waiting(commit, rows, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._start()
        try:
            await waiting.done
        finally:
            if waiting.done.cancelled():
                self._give_up(waiting)

    def _give_up(self, waiting: _Waiting) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        elif self._writing and all(each.done.cancelled() for each in self._group):
            # A server that hangs must not hold up those who come next.
            self._writing.cancel()

    def _start(self) -> None:
        if self._writing is None and self._waiting:
            self._writing = asyncio.create_task(self._write_group(), name="group commit")
            self._writing.add_done_callback(self._ended)

    def _ended(self, _writing: asyncio.Task[None]) -> None:
        self._writing, self._group = None, []
        self._start()

    async def _write_group(self) -> None:
        self._group = self._next()
        await self._write_all(self._group)

    async def _write_all(self, group: Sequence[_Waiting]) -> None:
        error: Exception | None = None
        try:
            await self._write([each.commit for each in group])
        except (Fenced, RowsRefused) as refusal:
            if len(group) > 1:
                # Nothing is written; whose it is shows when each goes by itself.
                for each in group:
                    if not each.done.done():
                        await self._write_all([each])
                return
            error = refusal
        except Exception as failure:  # noqa: BLE001 - everyone who waits must know
            error = failure
        for each in group:
            each.end(error)

    def _next(self) -> list[_Waiting]:
        """Those who have waited longest, as many as fit."""
        rows = count = 0
        for waiting in self._waiting:
            rows += waiting.rows
            if count and rows > GROUP_ROWS_MAX:
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group


def merged(several: Sequence[Changes]) -> Changes:
    """What commits of one projection write together."""
    if len(several) == 1:
        return several[0]
    whole = Changes()
    for changes in several:
        # What came by columns comes before these rows.
        if changes.rows.keys() & whole.columns.keys():
            whole.unfold()
        for table, rows in changes.rows.items():
            whole.rows.setdefault(table, {}).update(rows)
        for table, sums in changes.sums.items():
            for row in sums.values():
                add_up(table, whole.sums.setdefault(table, {}), row)
        for table, appended in changes.appended.items():
            whole.appended.setdefault(table, []).extend(appended)
        for table, parts in changes.columns.items():
            whole.columns.setdefault(table, []).extend(parts)
        whole.derived.extend(changes.derived)
        whole.timers.update(changes.timers)
        if whole.is_mixed():
            whole.unfold()
    return whole


def _rows_of(changes: Changes) -> int:
    """How much there is to write."""
    return (
        sum(len(rows) for rows in changes.rows.values())
        + sum(len(sums) for sums in changes.sums.values())
        + sum(len(rows) for rows in changes.appended.values())
        + sum(int(part.num_rows) for parts in changes.columns.values() for part in parts)
        + len(changes.derived)
        + len(changes.timers)
    )

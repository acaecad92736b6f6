"""Finishing a flush that somebody left open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from projections.analytics.append import AppendStore, Flush, FlushLog
from projections.analytics.gather import Gathered, from_offset, gather
from projections.analytics.sending import Sending
from projections.analytics.tables import TABLES
from projections.batch import Batch, Move

#: Reads a range of the log again and judges it; the batches cover exactly the range.
Reread = Callable[[Move], Awaitable[Sequence[Batch]]]

#: Ranges that are read again at a time: each has a connection to the broker.
REREADS_MAX = 8

logger = logging.getLogger(__name__)


async def repair(
    id: UUID, log: FlushLog, store: AppendStore, sending: Sending, reread: Reread
) -> None:
    """Bring the flush to its end, whoever began it and however far it came.

    It is held meanwhile, so of two repairers the second finds it done. Whoever began it may still
    be at work: its inserts carry the same tokens and the same rows, and its end finds it done.

    Raises:
        Unavailable: a store is away; nothing is lost by trying again.
    """
    async with log.repairing(id) as held:
        if held is None:
            return
        flush = held.flush
        if await _is_complete(flush, store):
            await held.close([], [])
            return
        batches = await _read_again(flush, reread)
        gathered = Gathered()
        for batch in batches:
            gathered.add(gather(batch, let_in=flush.let_in))
        gathered.sort()
        await sending.encode(gathered, batches)
        missing = await sending.missing(flush.moves, gathered)
        logger.warning("flush %s was open: %d rows of it are sent again", id, missing.count)
        blocks = await sending.encode(missing, batches)
        await sending.send(flush, missing, blocks, batches)
        await held.close([*gathered.letters, *missing.letters], gathered.resolved)


async def _read_again(flush: Flush, reread: Reread) -> list[Batch]:
    """The ranges as they were first read, several at a time."""
    turns = asyncio.Semaphore(REREADS_MAX)

    async def one(move: Move) -> list[Batch]:
        async with turns:
            return [from_offset(batch, move.start) for batch in await reread(move)]

    reading = [asyncio.create_task(one(move)) for move in flush.moves]
    try:
        read = await asyncio.gather(*reading)
    finally:
        for task in reading:
            task.cancel()
    return [batch for batches in read for batch in batches]


async def _is_complete(flush: Flush, store: AppendStore) -> bool:
    """Whether all rows are there, so that the log need not be read again.

    Dead letters are not recorded with the flush, so one that has some is made again.
    """
    if flush.letters or flush.let_in:
        return False
    for table in TABLES:
        wanted = flush.rows.get(table.name, 0)
        if wanted and (table.merges or await store.count(table, flush.moves) != wanted):
            return False
    return True

"""Stock faust-streaming: an agent, a typed record, a transaction per event.

Faust delivers at least once; the checkpoint in the transaction makes it exactly once.
"""

from __future__ import annotations

import asyncpg
import faust

from tests.benchmarks.peer.contestants.faust_records import Posted, app_of, row_of
from tests.benchmarks.peer.contestants.given import given, mark_first

_MOVE = """
update peer_checkpoints set next_offset = $3 + 1
where topic = $1 and partition = $2 and next_offset <= $3
"""
_TRANSACTION = "insert into peer_transactions values ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
_ACCOUNT = """
insert into peer_accounts values ($1, $2, $3, $4, $5)
on conflict (account_id) do update set balance = excluded.balance, currency = excluded.currency,
    updated_at = excluded.updated_at, last_event_id = excluded.last_event_id
"""
_TOTAL = """
insert into peer_totals as t values ($1, $2, $3, $4, 1)
on conflict (user_id, month, category)
do update set total = t.total + excluded.total, entries = t.entries + 1
"""

task = given()
app, postings = app_of(task)


@app.agent(postings)
async def project(stream: faust.Stream[Posted]) -> None:
    """Write each event and its checkpoint."""
    connection = await asyncpg.connect(task.postgres)
    async for event in stream.events():
        mark_first()
        place, row = event.message, row_of(event.value)
        event_id, user, account, at, amount, currency, category, _, balance = row
        async with connection.transaction():
            moved = await connection.execute(_MOVE, task.topic, place.partition, place.offset)
            if moved != "UPDATE 1":
                continue
            await connection.execute(_TRANSACTION, *row)
            await connection.execute(_ACCOUNT, account, balance, currency, at, event_id)
            month = at.date().replace(day=1)
            await connection.execute(_TOTAL, user, month, category, amount)


if __name__ == "__main__":
    app.main()

"""The judge of a fault run: everything that was made of the log, against the log told again.

At rest, and only then. The folds are run once more in memory over the whole log; what they must
have left in PostgreSQL, in ClickHouse and in the derived topics is compared row by row. Beside
that stand the references under ``tests/``, which share nothing with the folds.
"""

from __future__ import annotations

import asyncio

import asyncpg
import clickhouse_connect

from projections.analytics.gather import Gathered
from streams.topics import log_ends
from tests.e2e.system import read_log
from tests.faults.parts import Target
from tests.faults.progress import Progress
from tests.faults.told import Told, told_by
from tests.faults.verdict_columns import column_differences, gathered
from tests.faults.verdict_people import funnel_differences, people_differences
from tests.faults.verdict_tables import expected_letters, identities, table_differences
from tests.faults.verdict_topics import topic_differences


async def differences(target: Target) -> list[str]:
    """Each difference in one line, with the table, the key, what is expected and what is found.

    Waits for the last writers to come to rest. Of many of one kind the first few are named and
    the others counted. Empty if everything is as the log says.
    """
    progress = Progress(target)
    try:
        await progress.rest()
    finally:
        progress.close()
    told = await told_by(await asyncio.to_thread(read_log, target.kafka))
    ends = await asyncio.to_thread(log_ends, target.kafka)
    expected = gathered(told)
    connection = await asyncpg.connect(target.postgres, server_settings={"timezone": "UTC"})
    try:
        letters = identities(await expected_letters(told, expected.letters))
        lines = [line async for line in table_differences(told, expected.letters, ends, connection)]
        lines += [line async for line in people_differences(told, connection)]
    finally:
        await connection.close()
    lines += topic_differences(told, letters, target.broker)
    lines += await asyncio.to_thread(_columns, told, expected, target.clickhouse)
    lines += [line async for line in funnel_differences(told, target)]
    return lines


def _columns(told: Told, expected: Gathered, clickhouse: str) -> list[str]:
    with clickhouse_connect.get_client(dsn=clickhouse) as client:
        return list(column_differences(told, expected, client))

"""Where the milliseconds of a funnel go: its statement, cut off after each stage."""

from __future__ import annotations

import asyncio
import time
from datetime import date
from typing import Any

import clickhouse_connect

from projections.funnels import attempts, view
from projections.funnels.definition import Definition
from projections.funnels.matching import Parameters, rows_sql
from tests.benchmarks.measure import Figure, figure

#: (what has been done so far, SQL that does no more than that)
Stage = tuple[str, str]


def time_stages(
    address: str, definition: Definition, range_: tuple[date, date], asked: int
) -> list[tuple[str, Figure]]:
    """Milliseconds until each stage of an ordered funnel is done, each asked so many times."""
    return asyncio.run(_timed(address, definition, range_, asked))


async def _timed(
    address: str, definition: Definition, range_: tuple[date, date], asked: int
) -> list[tuple[str, Figure]]:
    clock, parameters = view._clock(definition, *range_), Parameters()
    stages = _stages(definition, rows_sql(definition, parameters, None), clock)
    end = clock.from_ms + clock.span_ms
    values = {**parameters.values, "from_ms": clock.from_ms, "end_ms": end}
    client = await clickhouse_connect.get_async_client(dsn=address)
    try:
        settings = view._settings(definition)
        return [
            (name, figure([await _ms(client, sql, values, settings) for _ in range(asked)]))
            for name, sql in stages
        ]
    finally:
        await client.close()


def _stages(definition: Definition, rows: str, clock: attempts.Clock) -> list[Stage]:
    prepared = attempts._prepared(definition, rows, clock, False)
    paths = attempts._in_order(definition, prepared, clock)
    whole = attempts.attempts_sql(definition, rows, clock, False)
    figures, source = view._counts_sql(definition, whole, clock)
    gathered = f"select groupArray(k) as ks from ({rows}) group by person"
    # What is asked of a stage takes little of its own, and leaves nothing out.
    return [
        ("an empty statement", "select 1"),
        ("rows read and numbered", f"select max(k) from ({rows})"),
        ("gathered by person", f"select sum(length(ks)) from ({gathered})"),
        ("sorted, as times and masks", f"select max(e[-2]), max(m[-2]) from ({prepared})"),
        ("attempts followed", f"select sum(length(paths)) from ({paths})"),
        ("best of each person, counted", f"select {figures} from {source}"),
    ]


async def _ms(client: Any, sql: str, values: dict[str, Any], settings: dict[str, Any]) -> float:
    began = time.perf_counter()
    await client.query(sql, values, settings=settings)
    return (time.perf_counter() - began) * 1e3

"""The read side of funnels: definitions from Postgres, answers from ClickHouse."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from projections.clickhouse.client import Client, translated
from projections.funnels.actions import JOURNEY
from projections.funnels.attempts import Clock, attempts_sql
from projections.funnels.definition import JOURNEY_FIELDS, Definition
from projections.funnels.given import GIVEN
from projections.funnels.matching import Breakdown, Parameters, rows_sql
from projections.postgres import queries
from schemas.errors import Invalid

_sql = queries.load("projections.funnels")

#: The longest range of one question: a month is usual, and ten years leave 24 bits to number the
#: events of one person by.
RANGE_DAYS_MAX = 3_660

#: Values of a breakdown that are listed, those with most people first.
BREAKDOWN_VALUES_MAX = 200

_EPOCH = date(1970, 1, 1)
_MS_PER_DAY = 86_400_000

#: People whose events are worked on at a time, times the arrays that are kept of each: 65,536
#: people with twenty events in ten arrays are 100 MB.
_ARRAYS_MAX = 65_536 * 10


async def definitions(connection: Any) -> list[Definition]:
    """All funnels, by name: the given ones and those that people made."""
    return sorted((await _current(connection, None)).values(), key=lambda each: each.name)


async def definition(connection: Any, name: str) -> Definition | None:
    """The funnel of that name, if there is one."""
    return (await _current(connection, name)).get(name)


async def _current(connection: Any, name: str | None) -> dict[str, Definition]:
    current = {given: GIVEN[given] for given in GIVEN if name in (None, given)}
    for row in await connection.fetch(_sql["newest"], name):
        if row["definition"] is None:
            current.pop(row["name"], None)
        else:
            current[row["name"]] = Definition.model_validate(json.loads(row["definition"]))
    return current


def last_days(days: int, today: date) -> tuple[date, date]:
    """From and to of a question about so many days, today the last of them."""
    return today - timedelta(days=days - 1), today


async def funnel(
    client: Client,
    definition: Definition,
    from_: date,
    to: date,
    breakdown: str | None = None,
    interval: str | None = None,
) -> dict[str, Any]:
    """The funnel's answer, in the shape of the contract.

    Args:
        client: of the ClickHouse that the analytics projection writes to.
        definition: what to ask.
        from_: first day (UTC) whose events count.
        to: last day whose events count.
        breakdown: a field of an attempt's first step (``platform``, ``properties.plan``); the
            answer then has ``breakdown`` and ``groups``, one for each value, null where there is
            none.
        interval: ``day`` for ``days``, by the day (UTC) on which the attempt that counts began.

    Raises:
        Invalid: the range or the breakdown is not one.
        Unavailable: the database does not answer.
    """
    clock = _clock(definition, from_, to)
    by = _breakdown(definition, breakdown) if breakdown else None
    if interval not in (None, "day"):
        raise Invalid("interval must be day")
    parameters = Parameters()
    rows = rows_sql(definition, parameters, by)
    sql = _counts_sql(definition, attempts_sql(definition, rows, clock, by is not None), clock)
    values = {
        **parameters.values,
        "from_ms": clock.from_ms,
        "end_ms": clock.from_ms + clock.span_ms,
    }
    groupings: list[tuple[str, ...]] = [()]
    groupings += [("day",)] * bool(interval) + [("value",)] * bool(by)
    if by and interval:
        groupings.append(("value", "day"))
    async with translated():
        result = await client.query(
            _grouped(sql, groupings), values, settings=_settings(definition)
        )
    found = [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]
    return _answer(definition, from_, to, found, breakdown, interval)


def _settings(definition: Definition) -> dict[str, Any]:
    count = len(definition.steps)
    arrays = max(10, count * (count - 1) // 2)
    return {
        "max_block_size": _ARRAYS_MAX // arrays,
        # On a cluster the sessions of all shards are asked for whom a session is.
        "distributed_product_mode": "global",
    }


def _clock(definition: Definition, from_: date, to: date) -> Clock:
    days = (to - from_).days + 1
    if not 1 <= days <= RANGE_DAYS_MAX:
        raise Invalid(f"from and to must be 1 to {RANGE_DAYS_MAX} days, in this order")
    from_ms = (from_ - _EPOCH).days * _MS_PER_DAY
    if from_ms < 0:
        raise Invalid("from must not be before 1970-01-01")
    return Clock(from_ms, days * _MS_PER_DAY, definition.window_seconds * 1000)


def _breakdown(definition: Definition, text: str) -> Breakdown:
    path = tuple(text.split("."))
    if not all(path) or len(text) > 200 or "\0" in text:
        raise Invalid("breakdown must be a field, or properties and a field of it")
    known = (path[0] == "properties" and path[1:]) or (path[1:] == () and path[0] in JOURNEY_FIELDS)
    if not known and all(match.type == JOURNEY for match in definition.matches):
        fields = ", ".join(JOURNEY_FIELDS)
        raise Invalid(f"breakdown must be one of {fields}, or properties and a field of it")
    return Breakdown(path)


def _counts_sql(definition: Definition, attempts: str, clock: Clock) -> tuple[str, str]:
    """The figures of a group of people, and what they are taken from."""
    count = len(definition.steps)
    figures = []
    for k in range(1, count + 1):
        figures.append(f"countIf(level >= {k}) as people_{k}")
        if k > 1:
            took = f"toInt64(t_{k} - t_{k - 1}), level >= {k}"
            figures.append(f"quantileExactInclusiveIf(0.5)({took}) as median_{k}")
            figures.append(f"sumIf({took}) as total_{k}")
    day = f"toDate32(fromUnixTimestamp64Milli(toInt64(t_1 + {clock.from_ms}), 'UTC')) as day"
    return ", ".join(figures), f"(select *, {day} from ({attempts}))"


def _grouped(sql: tuple[str, str], groupings: Sequence[tuple[str, ...]]) -> str:
    figures, source = sql
    names = sorted({name for grouping in groupings for name in grouping})
    if not names:
        return f"select {figures} from {source}"
    sets = ", ".join(f"({', '.join(grouping)})" for grouping in groupings)
    flags = ", ".join(f"{name}, grouping({name}) as all_{name}" for name in names)
    return f"select {flags}, {figures} from {source} group by grouping sets ({sets})"


def _answer(
    definition: Definition,
    from_: date,
    to: date,
    found: Sequence[Mapping[str, Any]],
    breakdown: str | None,
    interval: str | None,
) -> dict[str, Any]:
    def of_all(row: Mapping[str, Any], name: str) -> bool:
        return bool(row.get(f"all_{name}", 1))

    total = [row for row in found if of_all(row, "day") and of_all(row, "value")]
    answer: dict[str, Any] = {
        "funnel": definition.name,
        "from": from_.isoformat(),
        "to": to.isoformat(),
        "order": definition.order,
        "windowSeconds": definition.window_seconds,
        **_figures(definition, total[0] if total else {}),
    }
    days = [row for row in found if not of_all(row, "day")]
    if interval:
        answer["days"] = _days(definition, [row for row in days if of_all(row, "value")])
    if breakdown:
        answer["breakdown"] = breakdown
        groups = [row for row in found if of_all(row, "day") and not of_all(row, "value")]
        groups.sort(key=lambda row: (-row["people_1"], row["value"]))
        answer["groups"] = []
        for row in groups[:BREAKDOWN_VALUES_MAX]:
            group = {"value": row["value"] or None, **_figures(definition, row)}
            if interval:
                own = [each for each in days if not of_all(each, "value")]
                own = [each for each in own if each["value"] == row["value"]]
                group["days"] = _days(definition, own)
            answer["groups"].append(group)
    return answer


def _days(definition: Definition, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"day": row["day"].isoformat(), **_figures(definition, row)}
        for row in sorted(rows, key=lambda row: row["day"])
    ]


def _figures(definition: Definition, row: Mapping[str, Any]) -> dict[str, Any]:
    people = [int(row.get(f"people_{k}", 0)) for k in range(1, len(definition.steps) + 1)]
    steps = []
    for number, step in enumerate(definition.steps):
        now, before = people[number], people[max(number - 1, 0)]
        timed = number > 0 and now > 0
        steps.append(
            {
                "step": number + 1,
                "name": step.name,
                "people": now,
                "fromPrevious": _ratio(now, before),
                "fromFirst": _ratio(now, people[0]),
                "dropOff": before - now,
                "medianSeconds": row[f"median_{number + 1}"] / 1000 if timed else None,
                "averageSeconds": row[f"total_{number + 1}"] / now / 1000 if timed else None,
            }
        )
    return {"people": people[0], "conversion": _ratio(people[-1], people[0]), "steps": steps}


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0

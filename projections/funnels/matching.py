"""Which rows a funnel reads, as SQL: one row for each event of each person, with what it matches.

An event is one number of 128 bits that sorts as the log's order of one person does: time (44
bits), topic (6), partition (14), offset (44), then a bit for each match that it satisfies (20).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from projections.funnels.actions import JOURNEY
from projections.funnels.definition import JOURNEY_FIELDS, Definition, Match
from schemas.topics import TOPICS

MASK_BITS = 20
TIME_SHIFT = 84

_TOPICS = sorted(TOPICS)
assert len(_TOPICS) < 63


def _place(time: str, topic: str, partition: str, offset: str) -> str:
    """Where an event stands, as the number described above, without what it matches."""
    # From 1, so that no event is 0.
    numbers = list(range(1, len(_TOPICS) + 1))
    return (
        f"bitOr(bitOr(bitShiftLeft(toUInt128(toUnixTimestamp64Milli({time})), 84),"
        f" bitShiftLeft(toUInt128(transform({topic}, {_TOPICS}, {numbers}, 63)), 78)),"
        f" bitOr(bitShiftLeft(toUInt128({partition}), 64), bitShiftLeft(toUInt128({offset}), 20)))"
    )


_PLACE = _place("time", "topic", "partition", "offset")

_RANGE = (
    "time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')"
    " and time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')"
)


@dataclass
class Parameters:
    """Values of a statement, bound by the server; ``bind`` gives their places in it."""

    values: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: str | int | float) -> str:
        """The placeholder of a value."""
        kind = {str: "String", bool: "Bool", int: "Int64", float: "Float64"}[type(value)]
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{kind}}}"


@dataclass(frozen=True)
class Breakdown:
    """A field of the attempt's first step, by whose values people are told apart.

    ``platform``, or ``properties.plan``: dotted, on the wire's names.
    """

    path: tuple[str, ...]


def rows_sql(definition: Definition, parameters: Parameters, breakdown: Breakdown | None) -> str:
    """Rows ``(person, k[, value])`` of all that the funnel looks at between from and to.

    A strict funnel looks at every step of a journey and every event of the types it names, since
    any of them breaks an attempt; the others only at what matches.
    """
    steps = _source_of_steps(definition, parameters, breakdown)
    facts = _source_of_facts(definition, parameters, breakdown)
    value = ", value" if breakdown else ""
    parts = []
    if steps:
        parts.append(f"select user_id as person, k{value} from ({steps}) where user_id != ''")
        parts.append(_unnamed(steps, breakdown is not None))
    if facts:
        parts.append(f"select user_id as person, k{value} from ({facts}) where user_id != ''")
    rows = " union all ".join(parts)
    if not (steps and facts):
        return rows
    # A domain event may be read as the action that it equals and as itself: it is one event.
    merged = f"bitShiftLeft(bitShiftRight(k, {MASK_BITS}), {MASK_BITS}) as place"
    keep = ", max(value) as value" if breakdown else ""
    return (
        f"select person, groupBitOr(k) as k{keep}"
        f" from (select person, k, {merged}{value} from ({rows})) group by person, place"
    )


def _unnamed(steps: str, with_value: bool) -> str:
    """Steps of sessions without a person count for whom the session is named after, if ever.

    Both are grouped by session together, which costs half of a join. No person's id contains
    U+0000, so a session that is never named is a person of its own.
    """
    named = "first_named"
    naming = _place(f"{named}.time", f"{named}.topic", f"{named}.partition", f"{named}.offset")
    unnamed = f"from ({steps}) where user_id = ''"
    given, none, event = ("k, value", ", ''", "(k, value)") if with_value else ("k", "", "k")
    each = "arrayJoin(steps)"
    taken = f"{each}.1 as k, {each}.2 as value" if with_value else f"{each} as k"
    return (
        f"select if(owner = '', concat('\\0', session), owner) as person, {taken} from ("
        f"select session, groupArrayIf({event}, k != 0) as steps,"
        " argMinIf(person, naming, k = 0) as owner from ("
        f"select session, {given}, '' as person, toUInt128(0) as naming {unnamed}"
        f" union all select session, toUInt128(0){none}, first_named.user_id, {naming}"
        f" from sessions where session in (select session {unnamed})"
        ") group by session having notEmpty(steps))"
    )


def _source_of_steps(
    definition: Definition, parameters: Parameters, breakdown: Breakdown | None
) -> str:
    wanted = {
        bit: _step_condition(match, parameters)
        for bit, match in enumerate(definition.matches)
        if match.type == JOURNEY
    }
    if not wanted:
        return ""
    columns = ["user_id", "session", f"{_number(wanted)} as k"]
    if breakdown:
        columns.append(f"{_step_value(breakdown, parameters)} as value")
    among = "" if definition.order == "strict" else f" and ({_any(wanted)})"
    return f"select {', '.join(columns)} from journey_steps where {_RANGE}{among}"


def _source_of_facts(
    definition: Definition, parameters: Parameters, breakdown: Breakdown | None
) -> str:
    wanted = {
        bit: _fact_condition(match, parameters)
        for bit, match in enumerate(definition.matches)
        if match.type != JOURNEY
    }
    if not wanted:
        return ""
    columns = ["user_id", f"{_number(wanted)} as k"]
    if breakdown:
        columns.append(f"{_json_text('data', breakdown.path, parameters)} as value")
    types = sorted({match.type for match in definition.matches if match.type != JOURNEY})
    named = ", ".join(parameters.bind(name) for name in types)
    among = "" if definition.order == "strict" else f" and ({_any(wanted)})"
    return (
        f"select {', '.join(columns)} from events"
        f" where name in ({named}) and is_first and {_RANGE}{among}"
    )


def _number(wanted: dict[int, str]) -> str:
    mask = " + ".join(f"{condition} * {1 << bit}" for bit, condition in wanted.items())
    return f"bitOr({_PLACE}, toUInt128({mask}))"


def _any(wanted: dict[int, str]) -> str:
    return " or ".join(dict.fromkeys(wanted.values()))


def _step_condition(match: Match, parameters: Parameters) -> str:
    if match.is_action:
        return f"(action = {parameters.bind(match.fields['action'])})"
    conditions = [f"name = '{JOURNEY}'"]
    for name, value in match.fields.items():
        if name == "properties":
            conditions += _members("properties", (), value, parameters)
        else:
            conditions.append(f"{name} = {parameters.bind(value)}")
    return f"({' and '.join(conditions)})"


def _fact_condition(match: Match, parameters: Parameters) -> str:
    conditions = [f"name = {parameters.bind(match.type)}"]
    conditions += _members("data", (), match.fields, parameters)
    return f"({' and '.join(conditions)})"


def _members(
    column: str, path: tuple[str, ...], wanted: dict[str, Any], parameters: Parameters
) -> list[str]:
    conditions = []
    for name, value in wanted.items():
        inner = (*path, name)
        if isinstance(value, dict):
            conditions += _members(column, inner, value, parameters)
        else:
            conditions.append(_equals(column, inner, value, parameters))
    return conditions


def _equals(
    column: str, path: tuple[str, ...], value: str | bool | int | float, parameters: Parameters
) -> str:
    """JSON equality of a scalar: texts by their characters, numbers by their value."""
    where = ", ".join([column, *(parameters.bind(name) for name in path)])
    kind = f"JSONType({where})"
    wanted = parameters.bind(value)
    if isinstance(value, str):
        return f"({kind} = 'String' and JSONExtractString({where}) = {wanted})"
    if isinstance(value, bool):
        return f"({kind} = 'Bool' and JSONExtractBool({where}) = {wanted})"
    if isinstance(value, int):
        whole = f"{kind} in ('Int64', 'UInt64') and JSONExtract({where}, 'Int128') = {wanted}"
        return f"({whole} or {kind} = 'Double' and JSONExtractFloat({where}) = {wanted})"
    number = f"{kind} in ('Int64', 'UInt64', 'Double')"
    return f"({number} and JSONExtractFloat({where}) = {wanted})"


def _step_value(breakdown: Breakdown, parameters: Parameters) -> str:
    first, *rest = breakdown.path
    if first == "properties" and rest:
        return _json_text("properties", tuple(rest), parameters)
    return f"toString({first})" if first in JOURNEY_FIELDS and not rest else "''"


def _json_text(column: str, path: tuple[str, ...], parameters: Parameters) -> str:
    """A scalar as text; empty where there is none."""
    where = ", ".join([column, *(parameters.bind(name) for name in path)])
    return (
        f"multiIf(JSONType({where}) = 'String', JSONExtractString({where}),"
        f" JSONType({where}) = 'Null', '', JSONExtractRaw({where}))"
    )

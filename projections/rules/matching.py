"""Whether an event is one that a rule waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from projections.rules.rule import Condition, Transaction
from projections.rules.tables import Begin
from schemas.envelope import Event
from schemas.events.bank import TransactionPosted
from schemas.numbers import is_decimal

#: What a version watches: its rows are loaded by this, so an event meets no others.
EVERY_POSTING = "postings"
NOTHING = "nothing"


def watch_of_account(account: str) -> str:
    return f"account {account}"


def watch_of_symbol(symbol: str) -> str:
    return f"symbol {symbol}"


def applies(begin: Begin, event: Event) -> bool:
    """Whether a command is in effect for an event: one that was appended after it and, where the
    command names the event's partition, from that offset on.

    Both are needed. The offset is from before the command was appended: an event in between may
    have been folded without it, and must be so in every rebuild.
    """
    if event.ingested_at <= begin.ingested_at:
        return False
    offset = begin.effective.get(f"{event.position.topic}:{event.position.partition}")
    return offset is None or event.position.offset >= offset


def in_force(begin: Begin, until: Iterable[Begin], event: Event) -> bool:
    """Whether a version has begun for an event and no later one has."""
    return applies(begin, event) and not any(applies(later, event) for later in until)


def precedes(first: Begin, second: Begin) -> bool:
    """Whether ``first`` is in effect wherever ``second`` is."""
    return (
        first.ingested_at <= second.ingested_at
        and first.effective.keys() == second.effective.keys()
        and all(first.effective[place] <= second.effective[place] for place in first.effective)
    )


def crosses(line: Decimal, waits_above: bool, before: Decimal, after: Decimal) -> bool:
    """Whether a value comes to lie across the line; standing on it is not across it."""
    if waits_above:
        return before <= line < after
    return before >= line > after


def fits(trigger: Transaction, posting: TransactionPosted) -> bool:
    """Whether a posting has all that the trigger names; both amounts are included."""
    named = (
        (trigger.account, posting.account),
        (trigger.direction, posting.direction),
        (trigger.category, posting.category),
        (trigger.merchant, posting.merchant),
        (trigger.currency, posting.currency),
    )
    if any(wanted is not None and wanted != found for wanted, found in named):
        return False
    if trigger.min_amount is not None and posting.amount < trigger.min_amount:
        return False
    return trigger.max_amount is None or posting.amount <= trigger.max_amount


def hold(conditions: Sequence[Condition], data: Mapping[str, Any]) -> bool:
    """Whether all conditions hold for an event's data as on the wire."""
    return all(_holds(condition, member(data, condition.field)) for condition in conditions)


def member(data: Mapping[str, Any], path: str) -> Any:
    """A member by its wire name, inside of others by a dotted one; None if it is missing."""
    if path in data:
        return data[path]
    outer, _, inner = path.partition(".")
    value = data.get(outer)
    return member(value, inner) if inner and isinstance(value, Mapping) else None


def _holds(condition: Condition, found: Any) -> bool:
    if found is None:
        return False
    wanted = condition.value
    match condition.op:
        case "eq":
            return _equal(found, wanted)
        case "ne":
            return not _equal(found, wanted)
        case "in":
            return isinstance(wanted, list) and any(_equal(found, one) for one in wanted)
        case "contains":
            return _contains(found, wanted)
        case _:
            return _is_ordered(condition.op, found, wanted)


def _equal(found: Any, wanted: Any) -> bool:
    left, right = _number(found), _number(wanted)
    if left is not None and right is not None:
        return bool(left == right)
    # A JSON true equals 1 in Python.
    return type(found) is type(wanted) and bool(found == wanted)


def _contains(found: Any, wanted: Any) -> bool:
    if isinstance(found, str):
        return isinstance(wanted, str) and wanted in found
    return isinstance(found, list) and any(_equal(one, wanted) for one in found)


def _is_ordered(op: str, found: Any, wanted: Any) -> bool:
    """Numbers by value, texts by code points; a number and a text have no order."""
    left, right = _number(found), _number(wanted)
    if left is not None and right is not None:
        return _compare(op, left, right)
    if left is not None or right is not None or not isinstance(found, str):
        return False
    return isinstance(wanted, str) and _compare(op, found, wanted)


def _compare(op: str, left: Any, right: Any) -> bool:
    match op:
        case "gt":
            return bool(left > right)
        case "gte":
            return bool(left >= right)
        case "lt":
            return bool(left < right)
        case _:
            return bool(left <= right)


def _number(value: Any) -> Any:
    """The number of a decimal string or a JSON number, else None."""
    if isinstance(value, str):
        return Decimal(value) if is_decimal(value) else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    # As it was written, not as the float holds it.
    return Decimal(repr(value)) if isinstance(value, float) else None

"""Lines, triggers and conditions."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from projections.rules.matching import crosses, fits, hold, in_force, precedes
from projections.rules.rule import Condition, Transaction
from projections.rules.tables import Begin
from tests.builders import T0, event_of, posted

DATA = {
    "amount": "45000.00",
    "category": "salary",
    "mcc": "0742",
    "count": 3,
    "reversed": False,
    "note": None,
    "tags": ["rent", "5.0"],
    "payload": {"level": "gold", "inner": {"n": "7"}},
    "dotted.name": "x",
}


@pytest.mark.parametrize(
    ("before", "after", "below", "above"),
    [
        ("11", "9", True, False),
        ("9", "11", False, True),
        ("11", "10", False, False),
        ("10", "9", True, False),
        ("10", "11", False, True),
        ("9", "10", False, False),
        ("9", "8", False, False),
        ("11", "12", False, False),
        ("10", "10", False, False),
        ("10.00", "9.999999999999999999", True, False),
    ],
)
def test_a_line_is_crossed_and_standing_on_it_is_not_across(
    before: str, after: str, below: bool, above: bool
) -> None:
    line = Decimal("10")
    assert crosses(line, False, Decimal(before), Decimal(after)) is below
    assert crosses(line, True, Decimal(before), Decimal(after)) is above


@pytest.mark.parametrize(
    ("trigger", "met"),
    [
        ({}, True),
        ({"account": "acc_1"}, True),
        ({"account": "acc_2"}, False),
        ({"direction": "credit", "category": "salary", "merchant": "Acme"}, True),
        ({"direction": "debit"}, False),
        ({"category": "Salary"}, False),
        ({"merchant": "Acm"}, False),
        ({"currency": "INR"}, True),
        ({"currency": "USD"}, False),
        ({"min_amount": Decimal("100"), "max_amount": Decimal("100.00")}, True),
        ({"min_amount": Decimal("100.01")}, False),
        ({"max_amount": Decimal("99.99")}, False),
    ],
)
def test_a_posting_fits_a_trigger_that_it_has_all_of(trigger: dict[str, Any], met: bool) -> None:
    posting = event_of(posted("100.00", category="salary", merchant="Acme")).data
    assert fits(Transaction(**trigger), posting) is met
    bare = event_of(posted("100.00")).data
    assert not fits(Transaction(category="salary"), bare)


@pytest.mark.parametrize(
    ("field", "op", "value", "met"),
    [
        ("amount", "eq", "45000", True),
        ("amount", "eq", 45000, True),
        ("amount", "ne", "45000.0", False),
        ("amount", "gt", "5000", True),
        ("amount", "gte", "45000", True),
        ("amount", "lt", "45000", False),
        ("amount", "lte", "45000.000", True),
        ("amount", "gt", "abc", False),
        ("amount", "in", ["1", "45000"], True),
        ("category", "eq", "salary", True),
        ("category", "eq", "SALARY", False),
        ("category", "ne", "food", True),
        ("category", "gt", "food", True),
        ("category", "gt", "5", False),
        ("category", "contains", "lar", True),
        ("category", "contains", "LAR", False),
        ("category", "in", ["food", "salary"], True),
        ("category", "in", [], False),
        # A leading zero makes it a text, which is compared exactly.
        ("mcc", "eq", "742", False),
        ("mcc", "eq", "0742", True),
        ("count", "gte", "3", True),
        ("count", "eq", True, False),
        ("reversed", "eq", False, True),
        ("reversed", "eq", 0, False),
        ("reversed", "ne", True, True),
        ("tags", "contains", "5", True),
        ("tags", "contains", "ren", False),
        ("payload.level", "eq", "gold", True),
        ("payload.inner.n", "lt", "8", True),
        ("payload.none.n", "ne", "8", False),
        ("dotted.name", "eq", "x", True),
        # What is missing never holds, whatever is asked of it.
        ("note", "eq", "x", False),
        ("note", "ne", "x", False),
        ("merchant", "ne", "x", False),
        ("merchant", "in", ["x"], False),
    ],
)
def test_conditions(field: str, op: Any, value: Any, met: bool) -> None:
    assert hold([Condition(field, op, value)], DATA) is met


def test_all_conditions_must_hold() -> None:
    yes, no = Condition("amount", "gt", "1"), Condition("amount", "lt", "1")
    assert hold([], DATA) and hold([yes, yes], DATA) and not hold([yes, no], DATA)


def begin(offset: int | None, seconds: float = 0) -> Begin:
    effective = {} if offset is None else {"bfc.ledger:0": offset}
    return Begin(effective, T0 + timedelta(seconds=seconds))


def test_a_version_begins_after_its_command_and_not_before_its_offset() -> None:
    event = event_of(posted(), partitions=1)
    assert in_force(begin(0, -0.001), (), event)
    assert not in_force(begin(0, 0), (), event)
    assert not in_force(begin(1, -99), (), event)
    assert in_force(begin(None, -0.001), (), event)
    assert not in_force(begin(None, 0), (), event)
    assert not in_force(begin(0, -2), (begin(5, -1), begin(None, -1)), event)
    assert in_force(begin(0, -2), (begin(5, -1), begin(None, 1)), event)


def test_what_precedes_is_in_effect_wherever_the_other_is() -> None:
    assert precedes(begin(4, 1), begin(4, 1))
    assert precedes(begin(4, 1), begin(5, 2))
    assert not precedes(begin(5, 1), begin(4, 2))
    assert not precedes(begin(4, 2), begin(5, 1))
    assert not precedes(begin(None, 1), begin(5, 2))

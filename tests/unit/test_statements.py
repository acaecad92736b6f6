"""Rows as parameters of statements, and records as rows again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from projections.postgres import statements
from projections.tables import Row, Table


class Held(Row, frozen=True):
    user_id: str
    at: int
    amount: Decimal | None
    details: dict[str, Any] | None


HELD = Table("held", Held, key=("user_id", "at"), unit=1)
ROWS = [
    Held("u", 1, Decimal("1.50"), {"a": Decimal("0.10")}),
    Held("v", 2, None, None),
]


def test_rows_are_one_array_for_each_column() -> None:
    arrays = [list(values) for values in statements.arrays_of(HELD, ROWS)]
    assert arrays == [["u", "v"], [1, 2], ["1.50", None], ['{"a":"0.10"}', None]]


def test_no_rows_are_empty_arrays() -> None:
    assert [list(values) for values in statements.arrays_of(HELD, [])] == [[], [], [], []]


def test_a_record_is_a_row_with_its_json_decoded() -> None:
    loaded = statements.row_of(HELD, ("u", 1, Decimal("1.50"), '{"a":"0.10"}'))
    assert loaded == Held("u", 1, Decimal("1.50"), {"a": "0.10"})
    assert statements.row_of(HELD, ("v", 2, None, None)) == ROWS[1]

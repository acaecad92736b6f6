"""Rows as parameters of statements, and records as rows again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from projections.postgres import array_text, statements
from projections.postgres.store import Habits
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
    users, times, amounts, details = statements.arrays_of(HELD, ROWS)
    assert (users, list(times), amounts) == ('{"u","v"}', [1, 2], '{"1.50",NULL}')
    assert details == '{"{\\"a\\":\\"0.10\\"}",NULL}'


def test_no_rows_are_empty_arrays() -> None:
    users, times, amounts, details = statements.arrays_of(HELD, [])
    assert (users, list(times), amounts, details) == ("{}", [], "{}", "{}")


def test_a_record_is_a_row_with_its_json_decoded() -> None:
    loaded = statements.row_of(HELD, ("u", 1, Decimal("1.50"), '{"a":"0.10"}'))
    assert loaded == Held("u", 1, Decimal("1.50"), {"a": "0.10"})
    assert statements.row_of(HELD, ("v", 2, None, None)) == ROWS[1]


def test_statements_that_are_combined_keep_their_own_parameters() -> None:
    parts = [("delete from a where k = $1", [[1]]), ("insert into b values ($2, $1, $2)", [2, 3])]
    sql, values = statements.combined([*parts, parts[0]])
    assert values == [[1], 2, 3, [1]]
    assert "".join(sql.split()) == "".join(
        [
            "with",
            "s0",
            "as",
            "(delete",
            "from",
            "a",
            "where",
            "k",
            "=",
            "$1),",
            "s1",
            "as",
            "(insert",
            "into",
            "b",
            "values",
            "($3,",
            "$2,",
            "$3)),",
            "s2",
            "as",
            "(delete",
            "from",
            "a",
            "where",
            "k",
            "=",
            "$4)",
            "select",
        ]
    )
    assert statements.combined(parts[:1]) == parts[0]


def test_a_projection_goes_on_with_the_statements_that_it_needed_before() -> None:
    """On no rows, and nobody else does."""
    habits = Habits()
    first = "one $1, $2, $3", ["name", [1, 2], array_text.of_texts(["a"])]
    second = "two $1", [(3,)]
    idle = "one $1, $2, $3", ["name", [], "{}"]
    assert habits.whole("a", [first]) == [first]
    assert habits.whole("a", [second]) == [idle, second]
    assert habits.whole("a", []) == [idle, ("two $1", [[]])]
    assert habits.whole("b", [second]) == [second]

"""What the working set keeps between batches, and what it finds by ranges."""

from __future__ import annotations

import pytest

from projections.rows import NotLoaded, Rows
from projections.tables import Row, Table, Want


class Line(Row, frozen=True):
    symbol: str
    at: int
    text: str = ""


KEPT = Table("kept", Line, key=("symbol", "at"), unit=1)
FORGOTTEN = Table("forgotten", Line, key=("symbol", "at"), unit=1, cached=False)


def lines(*places: int) -> list[Line]:
    return [Line("A", place) for place in places]


@pytest.mark.parametrize("table", [KEPT, FORGOTTEN])
def test_a_range_is_read_with_both_ends_and_in_order(table: Table[Line]) -> None:
    rows = Rows()
    rows.load(Want(table, ("A",)), lines(9, 1, 5, 7, 3))
    assert rows.range(table, ("A",), 3, 7) == lines(3, 5, 7)
    assert rows.range(table, ("A",), None, 3) == lines(1, 3)
    assert rows.range(table, ("A",), 8, None) == lines(9)
    assert rows.find(table, "A") == lines(1, 3, 5, 7, 9)


def test_what_is_written_is_found_before_and_after_it_is_accepted() -> None:
    rows = Rows()
    rows.load(Want(KEPT, ("A",)), lines(1, 5))
    rows.put(KEPT, Line("A", 3))
    rows.put(KEPT, Line("A", 5, "changed"))
    rows.delete(KEPT, "A", 1)
    expected = [Line("A", 3), Line("A", 5, "changed")]
    assert rows.find(KEPT, "A") == expected
    rows.accept()
    assert rows.find(KEPT, "A") == expected
    assert rows.range(KEPT, ("A",), 0, 4) == lines(3)


def test_an_uncached_table_is_asked_again_after_each_batch() -> None:
    rows = Rows()
    for table in (KEPT, FORGOTTEN):
        rows.load(Want(table, ("A",), 1, 5), lines(1, 5))
    rows.settle()
    assert rows.range(KEPT, ("A",), 1, 5) == lines(1, 5)
    with pytest.raises(NotLoaded):
        rows.range(FORGOTTEN, ("A",), 1, 5)
    # Another lane has added a line since.
    rows.load(Want(FORGOTTEN, ("A",), 1, 5), lines(1, 4, 5))
    assert rows.range(FORGOTTEN, ("A",), 1, 5) == lines(1, 4, 5)


def test_what_an_uncached_table_was_written_in_a_batch_is_read_in_it() -> None:
    rows = Rows()
    rows.put(FORGOTTEN, Line("A", 2))
    rows.accept()
    with pytest.raises(NotLoaded):
        rows.range(FORGOTTEN, ("A",), 1, 5)
    rows.load(Want(FORGOTTEN, ("A",), 1, 5), lines(1))
    assert rows.range(FORGOTTEN, ("A",), 1, 5) == lines(1, 2)

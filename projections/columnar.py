"""What column-wise folds are made of: last values and exact sums of groups."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


class Inexact(Exception):
    """A sum could need more digits than Arrow has; event by event it is exact."""


def last_of(table: pa.Table, by: Sequence[str]) -> pa.Table:
    """The last row of each group; ``offset`` says which that is."""
    groups = table.group_by(list(by), use_threads=False).aggregate([("offset", "max")])
    return table.take(pc.index_in(groups["offset_max"], table["offset"]))


def sums_of(table: pa.Table, by: Sequence[str], column: str) -> pa.Table:
    """The columns of ``by``, the sum of ``column`` and the number of rows, for each group.

    Raises:
        Inexact: the sum of a decimal column might not fit.
    """
    values = table[column]
    if pa.types.is_decimal(values.type):
        _check_digits(values, table.num_rows)
    aggregates = [(column, "sum"), (column, "count")]
    return table.group_by(list(by), use_threads=False).aggregate(aggregates)


def _check_digits(values: pa.ChunkedArray, count: int) -> None:
    largest = pc.max(pc.abs(values)).as_py()
    if largest is None:
        return
    digits = values.type.precision - values.type.scale
    if largest * count >= 10 ** (digits - 1):
        raise Inexact

"""What column-wise folds are made of, and rows that are written by columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

# The first grouping would load it, for a tenth of a second in the middle of the work.
import pyarrow.acero
import pyarrow.compute as pc

from projections.tables import Row, Table

#: The name of a column of row numbers: no field has it.
_ROW = "#"


class Inexact(Exception):
    """A sum could need more digits than Arrow has; event by event it is exact."""


def last_of(table: pa.Table, by: Sequence[str]) -> pa.Table:
    """The last row of each group."""
    numbered = table.select(list(by)).append_column(_ROW, pa.arange(0, table.num_rows))
    groups = numbered.group_by(list(by), use_threads=False).aggregate([(_ROW, "max")])
    return table.take(groups[f"{_ROW}_max"])


def sums_of(table: pa.Table, by: Sequence[str], column: str) -> pa.Table:
    """The columns of ``by``, the sum of ``column`` and the number of rows, for each group.

    Raises:
        Inexact: the sum might not fit.
    """
    _check_sum(table[column])
    aggregates = [(column, "sum"), (column, "count")]
    return table.group_by(list(by), use_threads=False).aggregate(aggregates)


def _check_sum(values: pa.ChunkedArray) -> None:
    """Arrow cuts off what is too large for a whole number's 64 bits, without a word."""
    found = pc.min_max(values).as_py()
    if found["max"] is None:
        return
    kind = values.type
    bound = 10 ** (kind.precision - kind.scale - 1) if pa.types.is_decimal(kind) else 2**63
    if max(abs(found["min"]), abs(found["max"])) * len(values) >= bound:
        raise Inexact


def rows_of(table: Table[Any], rows: pa.Table) -> list[Row]:
    """The rows of an Arrow table that has the table's columns."""
    return [table.row(**members) for members in rows.to_pylist()]


def merged(table: Table[Any], parts: Sequence[pa.Table]) -> pa.Table:
    """What is put or added by parts, one after the other: each key once, in the order of the keys.

    Raises:
        Inexact: a sum might not fit.
    """
    rows = parts[0]
    if len(parts) > 1:
        try:
            rows = pa.concat_tables(parts, promote_options="permissive")
        except pa.ArrowException as error:
            raise Inexact from error
        rows = _summed(table, rows) if table.sums else last_of(rows, table.key)
    return rows.sort_by([(name, "ascending") for name in table.key])


def _summed(table: Table[Any], rows: pa.Table) -> pa.Table:
    for name in table.sums:
        _check_sum(rows[name])
    groups = rows.group_by(list(table.key), use_threads=False)
    sums = groups.aggregate([(name, "sum") for name in table.sums])
    return sums.rename_columns([*table.key, *table.sums])

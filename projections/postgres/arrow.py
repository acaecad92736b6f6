"""Rows that came as Arrow tables, copied as CSV, which both sides read and write in C."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv

from projections.postgres.pool import Connection
from projections.tables import Table

#: Texts are quoted and what is null is not, so that an empty text stays one.
_OPTIONS = csv.WriteOptions(include_header=False, quoting_style="needed")


async def copy(connection: Connection, table: Table[Any], parts: Sequence[pa.Table]) -> None:
    """Append the rows; each part has the table's columns in their order."""
    names = [column.name for column in table.columns]
    body = io.BytesIO()
    for part in parts:
        if part.column_names != names:
            raise ValueError(f"{table.name} has the columns {names}, not {part.column_names}")
        csv.write_csv(part, body, _OPTIONS)
    body.seek(0)
    await connection.copy_to_table(table.name, columns=names, source=body, format="csv")

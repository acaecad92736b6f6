"""Rows that came as Arrow tables, copied in PostgreSQL's binary form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pgpq
import pyarrow as pa

from projections.postgres.pool import Connection
from projections.tables import Table

#: Rows that are encoded at once: the server takes them in while the next are.
CHUNK_ROWS = 4_000

#: The Arrow types whose binary form is that of these columns; of numbers it is any decimal's.
_TYPES = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "boolean": pa.bool_(),
    "timestamptz": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
}


async def append(connection: Connection, table: Table[Any], parts: Sequence[pa.Table]) -> None:
    """Copy the rows; each part has the table's columns in their order."""
    names = [column.name for column in table.columns]
    for part in parts:
        if part.column_names != names:
            raise ValueError(f"{table.name} has the columns {names}, not {part.column_names}")
        await copy(connection, table.name, _typed(table, part))


async def copy(connection: Connection, name: str, rows: pa.Table) -> None:
    """Copy rows whose columns have the names and the types of the table's."""
    await connection.copy_to_table(
        name, columns=rows.column_names, source=_encoded(rows), format="binary"
    )


async def _encoded(rows: pa.Table) -> AsyncIterator[bytes]:
    encoder = pgpq.ArrowToPostgresBinaryEncoder(rows.schema)
    yield encoder.write_header()
    for batch in rows.to_batches(max_chunksize=CHUNK_ROWS):
        yield encoder.write_batch(batch)
    yield encoder.finish()


def _typed(table: Table[Any], rows: pa.Table) -> pa.Table:
    fields = [
        field if column.sql_type == "numeric" else field.with_type(_TYPES[column.sql_type])
        for field, column in zip(rows.schema, table.columns, strict=True)
    ]
    return rows.cast(pa.schema(fields))

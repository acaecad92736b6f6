"""Events to columns with Arrow: what is copied, what is upserted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pgpq
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

_MONEY = pa.decimal128(18, 2)
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "time": pa.timestamp("us", tz="UTC"),
        "userid": pa.string(),
        "data": pa.struct(
            {
                "account": pa.string(),
                "direction": pa.string(),
                "amount": _MONEY,
                "currency": pa.string(),
                "category": pa.string(),
                "merchant": pa.string(),
                "balanceAfter": _MONEY,
            }
        ),
    }
)
_PARSE = pj.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="ignore")
# One thread: the machine's other processors have PostgreSQL and the consumer on them.
_READ = pj.ReadOptions(use_threads=False, block_size=1 << 28)

_ID_CHARACTERS = 36
_ID_BYTES = 16


class Columns(NamedTuple):
    """A batch as PostgreSQL takes it."""

    #: COPY's binary format.
    transactions: bytes
    #: Arrays as text, in the order of the statements' parameters.
    accounts: tuple[str, ...]
    totals: tuple[str, ...]


def transformed(values: Sequence[bytes]) -> Columns:
    """The columns of some events, which are in the order of the log."""
    events = pj.read_json(
        pa.BufferReader(b"\n".join(values)), parse_options=_PARSE, read_options=_READ
    )
    if events.num_rows != len(values):
        raise RuntimeError(f"{len(values)} events made {events.num_rows} rows")
    table = events.flatten().combine_chunks()
    table = table.rename_columns([name.removeprefix("data.") for name in table.column_names])
    credited = pc.equal(table["direction"], "credit")
    amount = pc.if_else(credited, table["amount"], pc.negate(table["amount"]))
    table = table.set_column(table.column_names.index("amount"), "amount", amount)
    return Columns(_transactions(table), _accounts(table), _totals(table))


def _transactions(table: pa.Table) -> bytes:
    names = ["userid", "account", "time", "amount", "currency", "category", "merchant"]
    columns = [_ids(table["id"]), *(table[name] for name in [*names, "balanceAfter"])]
    rows = pa.table(columns, names=["id", *names, "balanceAfter"])
    rows = rows.take(pc.sort_indices(rows["id"])).combine_chunks()
    encoder = pgpq.ArrowToPostgresBinaryEncoder(rows.schema)
    parts = [encoder.write_header(), *map(encoder.write_batch, rows.to_batches()), encoder.finish()]
    return b"".join(parts)


def _ids(ids: pa.ChunkedArray) -> pa.Array:
    """UUIDs of text as the 16 bytes that PostgreSQL has for them."""
    (chunk,) = ids.chunks
    text = chunk.buffers()[2].to_pybytes()[: _ID_CHARACTERS * len(chunk)].decode()
    raw = bytes.fromhex(text.replace("-", ""))
    if chunk.offset or len(raw) != _ID_BYTES * len(chunk):
        raise RuntimeError("an id is no UUID")
    offsets = np.arange(0, len(raw) + 1, _ID_BYTES, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(raw)]
    return pa.Array.from_buffers(pa.binary(), len(chunk), buffers)


def _accounts(table: pa.Table) -> tuple[str, ...]:
    numbered = pa.table({"account": table["account"], "row": np.arange(len(table), dtype=np.int64)})
    last = numbered.group_by("account", use_threads=False).aggregate([("row", "max")])
    rows = table.take(last.sort_by("account")["row_max"].combine_chunks())
    names = ("account", "balanceAfter", "currency", "time", "id")
    return tuple(_array(rows[name]) for name in names)


def _totals(table: pa.Table) -> tuple[str, ...]:
    month = pc.floor_temporal(table["time"], unit="month").cast(pa.date32())
    parts = pa.table(
        {
            "user": table["userid"],
            "month": month,
            "category": table["category"],
            "amount": table["amount"],
        }
    )
    keys = ["user", "month", "category"]
    sums = parts.group_by(keys, use_threads=False).aggregate(
        [("amount", "sum"), ("amount", "count")]
    )
    sums = sums.sort_by([(key, "ascending") for key in keys])
    return tuple(_array(sums[name]) for name in [*keys, "amount_sum", "amount_count"])


def _array(column: pa.ChunkedArray) -> str:
    """An array as PostgreSQL writes it."""
    texts: list[Any] = column.cast(pa.string()).to_pylist()
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') != 2 * (len(texts) - 1):
        escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
        joined = '","'.join(escaped)
    return f'{{"{joined}"}}'

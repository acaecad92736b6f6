"""Arrays as PostgreSQL writes them: one text for all elements, which the server takes apart.

The driver encodes an array element by element, each with a look at an abstract class and calls of
its own, which takes ten times as long as joining texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

#: What no text in PostgreSQL holds: between elements until they are escaped.
_BETWEEN = "\0"


class ArrayText(str):
    """A parameter of type text that is cast to an array."""

    __slots__ = ()


EMPTY = ArrayText("{}")


def of_texts(values: Sequence[str | None]) -> ArrayText:
    """The array of these texts; None is NULL."""
    if not values:
        return EMPTY
    try:
        joined = _BETWEEN.join(values)  # type: ignore[arg-type]
    except TypeError:
        return _of_each(values)
    return _of_joined(joined, len(values))


def of_plain(values: Iterable[int | str]) -> ArrayText:
    """The array of values that need no quotes: numbers and UUIDs."""
    return ArrayText(f"{{{','.join(map(str, values))}}}")


def of_column(column: pa.ChunkedArray) -> ArrayText:
    """The array of an Arrow column's values, whatever their type; null is NULL."""
    if not len(column):
        return EMPTY
    texts = column.cast(pa.string()).combine_chunks()
    if texts.null_count:
        return _of_each(texts.to_pylist())
    whole = pa.ListArray.from_arrays([0, len(texts)], texts)
    return _of_joined(pc.binary_join(whole, _BETWEEN)[0].as_py(), len(texts))


def _of_joined(joined: str, count: int) -> ArrayText:
    if '"' in joined or "\\" in joined:
        joined = _escaped(joined)
    if joined.count(_BETWEEN) == count - 1:
        joined = joined.replace(_BETWEEN, '","')
    # Else one of the texts holds it, and the server says so as it does of any text.
    return ArrayText(f'{{"{joined}"}}')


def _of_each(values: Sequence[str | None]) -> ArrayText:
    each = ["NULL" if value is None else f'"{_escaped(value)}"' for value in values]
    return ArrayText(f"{{{','.join(each)}}}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def nothing(value: Any) -> Any:
    """The empty array of the same form as this parameter of a statement; else the parameter."""
    if isinstance(value, ArrayText):
        return EMPTY
    return [] if isinstance(value, list | tuple) else value

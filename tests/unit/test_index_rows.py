"""What is copied into the index: rows in the order of the keys."""

from __future__ import annotations

import random

from projections.batch import Keyed, Partition
from projections.postgres.index import _sorted_rows
from schemas.columns import Keys


def test_rows_are_as_one_by_one_and_sorted() -> None:
    rng = random.Random(7)
    parts = [
        (number, Keyed(Partition("t", number + 3), offsets, keys))
        for number, offsets, keys in (
            (1, [1, 5, 2**40], [rng.randbytes(16) for _ in range(3)]),
            (2, range(7, 9), Keys(rng.randbytes(32))),
        )
    ]
    rows = sorted(
        (key, number, part.place.partition, offset)
        for number, part in parts
        for key, offset in zip(part.keys, part.offsets, strict=True)
    )
    copied = _sorted_rows(parts)
    assert copied is not None
    assert copied.column_names == ["key", "topic", "partition", "offset"]
    assert list(zip(*(column.to_pylist() for column in copied.columns), strict=True)) == rows


def test_a_key_that_is_there_twice_is_not_to_be_copied() -> None:
    part = Keyed(Partition("t", 0), [1, 2, 3], [b"b" * 16, b"a" * 16, b"b" * 16])
    assert _sorted_rows([(1, part)]) is None

"""What aiokafka fetched, taken in pieces: the records that its own class gives, one by one."""

from __future__ import annotations

import random
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c_py

from schemas.codec import RawRecord
from streams import fetching
from streams.fetching import _Fetched, _Turns, _Unpacked

PLACE = TopicPartition("bfc.ledger", 3)
#: As it is before `install` replaces it in another test of this process.
STOCK = next(each for each in _Unpacked.__mro__ if each.__module__ == fetcher.__name__)
ABORTED = 7
#: A control record's key: version 0, type 0, which aborts.
ABORT = bytes(4)


def batch(
    first: int, count: int, producer: int = -1, *, control: bool = False, gap: int = 0
) -> bytes:
    """One of Kafka's record batches; `gap` leaves offsets out, as compaction does."""
    transactional = producer >= 0
    made = DefaultRecordBatchBuilder(2, 0, int(transactional), producer, 0, 0, 1 << 20)
    for number in range(count):
        key = ABORT if control else f"k{first + number}".encode()
        headers = [("h", b"v")] if number % 3 == 0 and not control else []
        value = None if number % 5 == 4 else b"v%d" % (first + number)
        made.append(number * (1 + gap), 1_700_000_000_000 + number, key, value, headers)
    written = made.build()
    written[0:8] = first.to_bytes(8, "big")
    if control:
        _set_control(written)
    return bytes(written)


def _set_control(written: bytearray) -> None:
    """The builder has no way to say it; the checksum covers it."""
    written[21:23] = (int.from_bytes(written[21:23], "big") | 0x20).to_bytes(2, "big")
    written[17:21] = calc_crc32c_py(memoryview(bytes(written))[21:]).to_bytes(4, "big")


LOG = b"".join(
    [
        batch(0, 10),
        batch(10, 4, gap=2),
        batch(25, 3, ABORTED),
        batch(28, 1),
        batch(29, 1, ABORTED, control=True),
        batch(30, 6, ABORTED + 1),
    ]
)


def unpacked(of: Any, start: int, log: bytes = LOG) -> Any:
    return of(PLACE, MemoryRecords(log), [(ABORTED, 25)], start, None, None, True, 1)


def by_stock(start: int) -> tuple[list[RawRecord], int]:
    parts = unpacked(STOCK, start)
    found = [
        RawRecord(r.topic, r.partition, r.offset, r.key, r.value, list(r.headers), r.timestamp)
        for r in parts
    ]
    return found, parts.next_fetch_offset


def test_the_log_of_this_test_has_what_is_to_be_left_out() -> None:
    offsets = [record.offset for record in by_stock(0)[0]]
    assert offsets == [*range(10), 10, 13, 16, 19, 28, *range(30, 36)]


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 12, 19, 25, 29, 30, 35])
@pytest.mark.parametrize("most", [1, 2, 7, 10, 14, None])
def test_pieces_are_the_records_of_the_stock_class(start: int, most: int | None) -> None:
    parts, wanted = unpacked(_Unpacked, start), by_stock(start)
    found: list[RawRecord] = []
    while piece := parts.take(most):
        assert most is None or len(piece) <= most
        assert [piece[number] for number in range(len(piece))] == list(piece)
        assert parts.next_fetch_offset == piece[-1].offset + 1
        found += piece
    assert (found, parts.next_fetch_offset) == wanted


def test_one_by_one_and_in_pieces_in_turn() -> None:
    rng = random.Random(1)
    parts, found = unpacked(_Unpacked, 3), list[RawRecord]()
    while piece := parts.take(rng.randrange(1, 4)):
        found += piece
        if (one := next(parts, None)) is not None:
            found.append(one)
    assert found == by_stock(3)[0]


def test_a_piece_keeps_what_it_has_when_the_next_is_taken() -> None:
    parts = unpacked(_Unpacked, 0)
    first = parts.take(12)
    before = list(first)
    second = list(parts.take(None))
    assert list(first) == before
    assert [*before, *second] == by_stock(0)[0]


@pytest.mark.parametrize(("start", "end"), [(0, 99), (5, 19), (11, 12), (0, 0), (13, 14), (40, 50)])
def test_a_stretch_of_a_piece_is_cut_by_offsets(start: int, end: int) -> None:
    records = unpacked(_Unpacked, 0).take(None)
    wanted = [record for record in records if start <= record.offset < end]
    assert list(records.between(start, end)) == wanted
    assert list(records) == by_stock(0)[0]


def test_a_damaged_batch_is_an_error() -> None:
    damaged = LOG[:-1] + bytes([LOG[-1] ^ 1])
    parts = unpacked(_Unpacked, 0, damaged)
    assert len(parts.take(15)) == 15
    with pytest.raises(CorruptRecordException):
        parts.take(None)


class Assigned:
    """A partition that is read."""

    active = True

    def __init__(self, start: int) -> None:
        self.position = start
        self.paused = False

    def state_value(self, _place: Any) -> Any:
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


@pytest.mark.parametrize("most", [1, 4, 7, 21, 22, None])
def test_a_fetch_moves_the_position_as_it_hands_over(most: int | None) -> None:
    assigned = Assigned(0)
    parts = unpacked(_Unpacked, 0)
    fetched = _Fetched(PLACE, assignment=assigned, partition_records=parts, backoff=0)
    found: list[RawRecord] = []
    while fetched.has_more():
        piece = fetched.getall(most)
        found += piece
        if most is not None:
            assert len(piece) <= most
        if fetched.has_more():
            assert assigned.position == piece[-1].offset + 1
    assert (found, assigned.position) == by_stock(0)


def test_nothing_is_handed_over_for_a_partition_that_is_elsewhere_now() -> None:
    assigned = Assigned(0)
    parts = unpacked(_Unpacked, 0)
    fetched = _Fetched(PLACE, assignment=assigned, partition_records=parts, backoff=0)
    assigned.position = 5
    assert fetched.getall() == []
    assert not fetched.has_more()


def test_aiokafka_looks_for_them_where_they_are_put() -> None:
    names = fetcher.Fetcher._proc_fetch_request.__code__.co_names
    assert {"PartitionRecords", "FetchResult"} <= set(names)
    assert {"random", "shuffle"} <= set(fetcher.Fetcher._get_actions_per_node.__code__.co_names)
    before = {
        name: getattr(fetcher, name) for name in ("PartitionRecords", "FetchResult", "random")
    }
    try:
        fetching.install()
        assert (fetcher.PartitionRecords, fetcher.FetchResult) == (_Unpacked, _Fetched)
        assert fetcher.random is fetching._turns
    finally:
        for name, stock in before.items():
            setattr(fetcher, name, stock)


def test_who_waited_longest_is_asked_for_first() -> None:
    turns, places = _Turns(), [TopicPartition("bfc.ledger", number) for number in range(4)]
    for number in (2, 0, 3, 2):
        turns.came(places[number])
    asked = [(place, 7) for place in places]
    turns.shuffle(asked)
    assert [place.partition for place, _ in asked] == [1, 0, 3, 2]

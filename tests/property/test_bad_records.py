"""Whatever a record holds: it is an event or a dead letter, by both ways the same, and takes
nothing with it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from projections import dead_letters
from projections.analytics.gather import gather
from projections.batch import Batch, DeadLetter
from projections.catalog import row_projections
from projections.memory import run
from schemas.codec import RawRecord, Unreadable, decode_batch, decode_carefully
from schemas.envelope import Event
from schemas.limits import partitions_embedded
from schemas.registry import TYPES
from schemas.topics import event_topics, partition_of
from tests.builders import record_of
from tests.corpus.kind import good
from tests.corpus.kinds import KINDS
from tests.strategies import documents, key_of_document

PARTITIONS = {topic.name: partitions_embedded for topic in event_topics()}

#: Pieces that parsers, stores and terminals trip over.
PIECES = st.sampled_from(
    [
        *(b"\0", b"\\u0000", b"\\ud800", b"\xff", b"\xed\xa0\x80", b"\\", b'"', b"\\\\", b'\\"'),
        *(b"{", b"}", b"[", b"]", b":", b",", b"[" * 70, b'{"a":' * 70, b"null", b"true", b"-"),
        *(b"1e999", b"NaN", b"0", b"9" * 30, b"1.5", b'"' + b"x" * 4_001 + b'"', b'"id"', b"\x1b"),
    ]
)


@st.composite
def good_records(draw: st.DrawFn) -> RawRecord:
    """A valid record of any type."""
    event_type = draw(st.sampled_from(list(TYPES.values())))
    document = draw(documents(event_type))
    key = key_of_document(event_type, document)
    return record_of(good())._replace(
        topic=event_type.topic.name,
        partition=partition_of(key, partitions_embedded),
        key=key,
        value=msgspec.json.encode(document),
        timestamp=7_000_000_000_000,
    )


@st.composite
def mutated(draw: st.DrawFn) -> RawRecord:
    """A good record, or one of the corpus, with a few pieces changed anywhere."""
    corpus = st.sampled_from(
        [kind.record for kind in KINDS if len(kind.record.value or b"") < 9999]
    )
    record = draw(good_records() | corpus)
    value = record.value or b""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(value)))
        end = draw(st.integers(start, min(len(value), start + 20)))
        piece = draw(PIECES | st.binary(max_size=3) | st.just(value[start:end] * 2))
        value = value[:start] + piece + value[end:]
    changed = record._replace(value=value)
    if draw(st.integers(0, 9)) == 0:
        changed = changed._replace(key=draw(st.none() | st.binary(max_size=8)))
    if draw(st.integers(0, 9)) == 0:
        names = st.sampled_from(
            ["content-type", "ce_id", "ce_type", "CE_time", "other", "dl-retry"]
        )
        header = st.tuples(names, st.none() | st.binary(max_size=12))
        changed = changed._replace(headers=[*record.headers, *draw(st.lists(header, max_size=3))])
    return changed


@given(record=mutated())
@settings(max_examples=600, deadline=None)
def test_it_is_read_or_refused_and_both_ways_agree(record: RawRecord) -> None:
    before, after = record_of(good()), record_of(good())
    decoded = decode_batch([before, record, after], partitions=PARTITIONS)
    assert isinstance(decoded[0], Event) and isinstance(decoded[2], Event)
    item = decoded[1]
    assert item == decode_carefully(record, partitions_embedded)
    if isinstance(item, Unreadable):
        letter = DeadLetter(dead_letters.NOBODY, item.position, item.reason, item.record)
        reason = dead_letters.reason_of(letter)
        assert "\0" not in reason and 0 < len(reason.encode()) <= dead_letters.REASON_BYTES_MAX
        assert dead_letters.identity_of(dead_letters.headers_of(letter)).startswith("*|")


#: How the projector tells of an exception that no fold should let out.
_BUG = re.compile(r"[A-Za-z]*(Error|Exception|Operation|Exists|Inexact|Invalid|Overflow): ")


@given(records=st.lists(good_records(), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_folds_apply_what_is_valid_or_say_which_field_is_wrong(records: list[RawRecord]) -> None:
    numbered = [record._replace(offset=number) for number, record in enumerate(records)]
    decoded = decode_batch(numbered, partitions=PARTITIONS)
    events = [item for item in decoded if isinstance(item, Event)]
    for projection in row_projections():
        mine = [[event] for event in events if event.position.topic in projection.topics]
        store = asyncio.run(run(projection, _at_zero(mine)))
        for letter in store.dead_letters.values():
            assert not _BUG.match(letter.reason), (projection.name, letter.reason)
    for event in events:
        batch = Batch(*event.position[:2], 0, event.position.offset + 1, [event])
        for letter in gather(batch).letters:
            assert letter.reason.startswith("data."), letter.reason


def _at_zero(batches: list[list[Event]]) -> list[list[Event]]:
    """Each partition's events with the offsets of a log of their own."""
    ends: dict[tuple[str, int], int] = {}
    moved: list[list[Event]] = []
    for batch in batches:
        for event in batch:
            place: Any = event.position[:2]
            offset = ends.get(place, 0)
            ends[place] = offset + 1
            position = event.position._replace(offset=offset)
            moved.append([msgspec.structs.replace(event, position=position)])
    return moved

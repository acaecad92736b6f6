"""Every kind of bad record is refused with the field that is wrong, by both ways of decoding."""

from __future__ import annotations

from collections import Counter

import pytest

from projections import dead_letters
from projections.batch import DeadLetter
from projections.catalog import row_projections
from projections.memory import run
from schemas.codec import Unreadable, decode_batch, decode_carefully
from schemas.envelope import Event
from streams.relay_log import name_of
from tests.builders import events_of, record_of
from tests.corpus.kind import Kind, good
from tests.corpus.kinds import KINDS
from tests.corpus.refused import refusals

PARTITIONS = 6


def test_there_are_enough_and_none_is_there_twice() -> None:
    names = Counter(kind.name for kind in KINDS)
    assert [name for name, count in names.items() if count > 1] == []
    assert len({(kind.record, kind.path) for kind in map(_hashable, KINDS)}) == len(KINDS)
    assert len(KINDS) >= 200


def _hashable(kind: Kind) -> Kind:
    headers = tuple(kind.record.headers)
    return Kind(kind.name, kind.record._replace(headers=headers), kind.path)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_reason_names_the_field(kind: Kind) -> None:
    (fast,) = decode_batch([kind.record], partitions={kind.record.topic: PARTITIONS})
    assert fast == decode_carefully(kind.record, PARTITIONS)
    assert isinstance(fast, Unreadable), fast
    assert all(error.message for error in fast.errors)
    assert kind.path in {error.path for error in fast.errors}, fast.reason[:500]
    can_be_kept(fast)


def can_be_kept(item: Unreadable) -> None:
    """As PostgreSQL and Kafka take texts: UTF-8 without U+0000, and not without end."""
    letter = DeadLetter(dead_letters.NOBODY, item.position, item.reason, item.record)
    reason = dead_letters.reason_of(letter)
    assert reason and "\0" not in reason
    assert len(reason.encode()) <= dead_letters.REASON_BYTES_MAX
    headers = dead_letters.headers_of(letter)
    assert headers[: len(item.record.headers)] == list(item.record.headers)


def test_good_ones_between_them_are_read_in_order() -> None:
    """One batch of all: what is bad takes nothing with it."""
    records = []
    for number, kind in enumerate(k for k in KINDS if k.record.topic == "bfc.ledger"):
        fine = record_of(good(id=f"between-{number}"))
        records += [fine._replace(offset=2 * number), kind.record._replace(offset=2 * number + 1)]
    decoded = decode_batch(records, partitions={"bfc.ledger": PARTITIONS})
    assert [isinstance(item, Event) for item in decoded] == [
        number % 2 == 0 for number in range(len(records))
    ]
    assert [item.position.offset for item in decoded] == list(range(len(records)))


async def test_folds_refuse_what_they_cannot_apply() -> None:
    """All refusals in one log: by whom, at which field; everything else is applied."""
    found = list(refusals())
    assert len({refusal.name for refusal in found}) == len(found)
    drafts = [made for refusal in found for made in (*refusal.before, refusal.bad)]
    wanted = {(by, refusal.bad.id, refusal.path) for refusal in found for by in refusal.by}
    told = set()
    for projection in row_projections():
        store = await run(projection, [[event] for event in events_of(drafts)])
        for letter in store.dead_letters.values():
            path, _, message = letter.reason.partition(": ")
            shortest = [r.path for r in found if r.bad.id == letter.event_id]
            assert message and path.startswith(tuple(shortest)), letter
            told.add((projection.name, letter.event_id, *shortest))
    assert told == wanted


@pytest.mark.parametrize("topic", ["notifications", "app.commands", "dead-letters", "bfc.ledger"])
def test_a_relay_reads_past_all_of_them(topic: str) -> None:
    """A new leader looks at what stands in its topics, whoever wrote it."""
    names = [name_of(kind.record._replace(topic=topic)) for kind in KINDS]
    assert all(name is None or name[0] == topic for name in names)

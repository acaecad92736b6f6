"""The parts of the transport that need no broker."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from projections.batch import Partition
from streams import transport
from streams.transport import Backlog, SameNumberAssignor

PLACE = Partition("bfc.ledger", 0)


def test_members_get_the_same_numbers_of_all_topics() -> None:
    cluster = SimpleNamespace(partitions_for_topic=lambda topic: set(range(6)))
    members = {
        name: SimpleNamespace(subscription=["bfc.ledger", "app.commands"])
        for name in ("one", "two", "three", "four")
    }
    shares = SameNumberAssignor.assign(cluster, members)
    for share in shares.values():
        numbers = [sorted(numbers) for _, numbers in share.assignment]
        assert numbers[0] == numbers[1]
    owned = sorted(n for share in shares.values() for n in dict(share.assignment)["bfc.ledger"])
    assert owned == list(range(6))


async def test_room_comes_back_when_all_projections_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "OUTSTANDING_RECORDS_MAX", 10)
    backlog = Backlog()
    release = backlog.claim(PLACE, 10, claims=2)
    assert not backlog.has_room(PLACE)
    assert backlog.has_room(Partition("bfc.ledger", 1))
    release()
    assert not backlog.has_room(PLACE)
    waiting = asyncio.create_task(backlog.room(60))
    await asyncio.sleep(0)
    release()
    await waiting
    assert backlog.has_room(PLACE)


def test_the_total_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "OUTSTANDING_RECORDS_TOTAL_MAX", 10)
    backlog = Backlog()
    backlog.claim(PLACE, 10, claims=1)
    assert not backlog.has_room(Partition("market.fx", 5))


def test_what_nobody_reads_takes_no_room() -> None:
    backlog = Backlog()
    backlog.claim(PLACE, 1 << 30, claims=0)
    assert backlog.has_room(PLACE)

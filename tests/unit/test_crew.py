"""What was fetched is read in the order of the log, what gathers meanwhile at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from projections.batch import Partition
from projections.intake import Fetched
from schemas.codec import RawRecord
from streams import crew as crews
from streams.crew import Crew
from streams.transport import Round

PLACE = Partition("bfc.ledger", 0)


class Intake:
    """Reads when it is let; a batch is the number of its first record."""

    def __init__(self) -> None:
        self.read_together: list[list[int]] = []
        self.may_read = asyncio.Event()

    async def read(self, fetched: Sequence[Fetched]) -> list[Any]:
        starts = [part.start for part in fetched]
        self.read_together.append(starts)
        await self.may_read.wait()
        if -1 in starts:
            raise ValueError("unreadable")
        return starts


@pytest.fixture
async def intake() -> Intake:
    return Intake()


@pytest.fixture
async def crew(intake: Intake) -> Crew:
    nothing = cast(Any, None)
    return Crew([], [], nothing, cast(Any, intake), nothing, nothing, "127.0.0.1:9")


def fetched(*starts: int, records: int = 1) -> Round:
    """A round of one slice at each start."""
    found = [RawRecord(*PLACE, number, b"", b"", (), 0) for number in range(records)]
    return Round(1, [Fetched(PLACE, start, start + 1, found) for start in starts])


async def test_what_comes_while_others_are_read_goes_together(crew: Crew, intake: Intake) -> None:
    rounds = [fetched(0), fetched(1, 2), fetched(3)]
    crew.read(rounds[0])
    await asyncio.sleep(0)
    for each in rounds[1:]:
        crew.read(each)
    intake.may_read.set()
    assert [await each.batches for each in rounds] == [[0], [1, 2], [3]]
    assert intake.read_together == [[0], [1, 2, 3]]
    again = fetched(4)
    crew.read(again)
    assert await again.batches == [4]


async def test_no_more_goes_together_than_fits(
    crew: Crew, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "READ_RECORDS_MAX", 5)
    rounds = [fetched(0, records=9), fetched(1, records=3), fetched(2, records=2), fetched(3)]
    for each in rounds:
        crew.read(each)
    intake.may_read.set()
    await rounds[-1].batches
    assert intake.read_together == [[0], [1, 2], [3]]


async def test_nothing_is_judged_after_what_could_not_be(crew: Crew, intake: Intake) -> None:
    intake.may_read.set()
    crew.read(fetched(-1))
    with pytest.raises(ValueError, match="unreadable"):
        await crew.failed
    later = fetched(5)
    crew.read(later)
    await asyncio.sleep(0)
    assert not later.batches.done()
    assert intake.read_together == [[-1]]
    await crew.stop()

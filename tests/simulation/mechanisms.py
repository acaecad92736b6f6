"""The mechanisms that the promises rest on, each with a part that lacks it.

A part is a store, a log or a collaborator as the product has it, but for one thing. Histories
that are played with it must break: else either the mechanism or the simulation is worth nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from projections.analytics.append import AppendTable, Flush, Taken
from projections.analytics.memory import MemoryAppendStore, MemoryFlushLog
from projections.batch import Batch, Checkpoint, DeadLetter, Keyed, Move, Partition
from projections.lane import Lane
from projections.memory import MemoryIndex
from projections.projector import Projector
from projections.rows import Rows
from projections.store import Commit
from schemas.position import Position
from streams.crew import Crew
from streams.relay import Page
from streams.transport import Round, Slice
from tests.simulation.faults import Fault, Plan
from tests.simulation.ports import Taking
from tests.simulation.relaying import Session
from tests.simulation.servers import Parts, StrictStore

Attribute = tuple[type, str, object]


#: Faults of one history in which a mechanism is lacking.
FAULTS_MAX = 100


@dataclass(frozen=True)
class Lacking:
    """What a history is played with: parts, and what replaces attributes of collaborators.

    ``faults`` are the kinds that the mechanism is there for, so that few histories show it.
    """

    parts: Parts = field(default_factory=Parts)
    attributes: tuple[Attribute, ...] = ()
    faults: tuple[Fault, ...] = ()
    rate: float = 0.12
    disturbances: int = 2
    #: Where to begin to look, for what shows only once in dozens of histories.
    first_seed: int = 1

    def plan(self, chance: random.Random) -> Plan:
        rates = {fault: self.rate / len(self.faults) for fault in self.faults}
        return Plan(chance, rates, left=FAULTS_MAX)


class AnyPosition(StrictStore):
    """Commits of the owner are taken wherever the checkpoint is."""

    async def commit(self, commit: Commit) -> None:
        moves = [
            replace(move, start=(await self.checkpoint(commit.projection, move.place)).next_offset)
            for move in commit.moves
        ]
        await super().commit(replace(commit, moves=moves))


class AnyOwner(StrictStore):
    """Commits are taken from whoever knows where the checkpoint is."""

    async def commit(self, commit: Commit) -> None:
        moves = [
            replace(move, epoch=(await self.checkpoint(commit.projection, move.place)).epoch)
            for move in commit.moves
        ]
        await super().commit(replace(commit, moves=moves))


class AnybodyAnywhere(AnyPosition, AnyOwner):
    """Commits are taken as they come."""


class Forgiving(StrictStore):
    """An id that was refused is used up."""

    async def refused(self, projection: str, keys: Sequence[UUID]) -> set[UUID]:
        return set()


class HandsOverOnce(StrictStore):
    """Who asks again what a rebuild has handed over, because an answer was lost, gets nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._given: set[tuple[str, Partition, int]] = set()

    async def regain(
        self, projection: str, held: Mapping[Partition, Checkpoint]
    ) -> Mapping[Partition, Checkpoint]:
        back = await super().regain(projection, held)
        names = {place: (projection, place, held[place].epoch) for place in back}
        back = {place: now for place, now in back.items() if names[place] not in self._given}
        self._given |= set(names.values())
        return back


class Unjudging(MemoryIndex):
    """Nothing is a repetition."""

    async def judge(
        self, parts: Sequence[Keyed], unreadable: Sequence[DeadLetter], *further: Any
    ) -> list[frozenset[int]]:
        await super().judge(parts, unreadable, *further)
        return [frozenset()] * len(parts)


class Nearsighted(MemoryIndex):
    """Only what is repeated within one fetch is a repetition."""

    async def judge(
        self, parts: Sequence[Keyed], unreadable: Sequence[DeadLetter], *further: Any
    ) -> list[frozenset[int]]:
        await super().judge(parts, unreadable, *further)
        return await MemoryIndex().judge(parts, ())


class RecordedAfterwards(MemoryFlushLog):
    """A flush is recorded when it is done; who takes a partition before knows nothing of it."""

    async def open(self, flush: Flush) -> None:
        await super().open(flush)
        for move in flush.moves:
            self.stands[move.place].flush = None


class Unrepaired(MemoryFlushLog):
    """Who takes a partition goes on from its checkpoint, without what was left open."""

    async def take(self, projection: str, places: Sequence[Partition]) -> Mapping[Partition, Taken]:
        for place in places:
            if place in self.stands:
                self.stands[place].flush = None
        return await super().take(projection, places)


class Tokenless(MemoryAppendStore):
    """Every insert takes effect, also one that did before."""

    async def send(self, table: AppendTable, block: bytes, token: str) -> None:
        self._tokens.clear()
        await super().send(table, block, token)


class SeesAll(MemoryAppendStore):
    """Whoever repairs is told that everything is there."""

    async def count(self, table: AppendTable, moves: Sequence[Move]) -> int:
        return 1 << 30

    async def present(self, table: AppendTable, moves: Sequence[Move]) -> set[Position]:
        return {
            Position(*move.place, offset)
            for move in moves
            for offset in range(move.start, move.end)
        }


async def _never(_self: Projector, _moves: Sequence[Move]) -> bool:
    return False


async def _always(_self: Projector, _moves: Sequence[Move]) -> bool:
    return True


def _keep(_self: Rows) -> None:
    """Forget nothing."""


async def _hand_at_once(self: Crew, name: str, part: Slice, _generation: Callable[[], int]) -> None:
    await _HAND(self, name, part, lambda: part.round.generation)


def _read_at_once(self: Crew, together: Round) -> None:
    async def read() -> None:
        together.batches.set_result(await self._intake.read(together.fetched))

    reading = asyncio.create_task(read())
    # Held until it has ended.
    together.batches.add_done_callback(lambda _: reading.done())


async def _nothing_stands(
    _self: Session, _topics: Collection[str], _positions: Mapping[Partition, int]
) -> AsyncIterator[Page]:
    for page in ():
        yield page


def _unfenced(_self: Session) -> None:
    """Whoever writes may write."""


def _whatever_it_was(_self: Taking[Any], _place: Partition, _epoch: int) -> bool:
    return True


def _ready(_self: Lane, _batch: Batch, _chosen: list[Batch]) -> bool:
    return True


_HAND = Crew.hand

#: What is lacking, in the words of a failure.
MECHANISMS: Mapping[str, Lacking] = {
    "compare-and-set of the position": Lacking(Parts(store=AnyPosition), faults=(Fault.LATE,)),
    "the epoch of the owner": Lacking(
        Parts(store=AnyOwner),
        faults=(Fault.PAUSE_BEFORE, Fault.CRASH_LATE),
        rate=0.06,
        disturbances=12,
    ),
    "compare-and-set and epoch": Lacking(
        Parts(store=AnybodyAnywhere), faults=(Fault.PAUSE_BEFORE, Fault.LATE)
    ),
    "taking a partition only from the epoch that was seen": Lacking(
        attributes=((Taking, "_is_still", _whatever_it_was),),
        faults=(Fault.LATE, Fault.CRASH_LATE),
        disturbances=12,
    ),
    "asking after a commit of unknown outcome": Lacking(
        attributes=((Projector, "_is_committed", _never),), faults=(Fault.UNKNOWN,)
    ),
    "not believing in a commit of unknown outcome": Lacking(
        attributes=((Projector, "_is_committed", _always),), faults=(Fault.LOST,)
    ),
    "handing over as often as it is asked": Lacking(
        Parts(store=HandsOverOnce), faults=(Fault.UNKNOWN,), rate=0.3
    ),
    "the index of first positions": Lacking(Parts(index=lambda store: Unjudging(store.outbox))),
    "first positions for ever": Lacking(Parts(index=lambda store: Nearsighted(store.outbox))),
    "rounds judged in order": Lacking(
        attributes=((Crew, "read", _read_at_once),),
        faults=(Fault.LOST,),
        rate=0.3,
        first_seed=80,
    ),
    "a refused id is not used up": Lacking(Parts(store=Forgiving)),
    "forgetting rows that were not committed": Lacking(attributes=((Rows, "clear", _keep),)),
    "dropping slices of earlier assignments": Lacking(
        attributes=((Crew, "hand", _hand_at_once),), faults=(Fault.LOST,), disturbances=12
    ),
    "commands first": Lacking(attributes=((Lane, "_is_ready", _ready),), faults=(Fault.LOST,)),
    "the relay looks at what stands in the log": Lacking(
        attributes=((Session, "standing", _nothing_stands),),
        faults=(Fault.UNKNOWN, Fault.CRASH_AFTER),
    ),
    "a new relay fences the one before": Lacking(
        attributes=((Session, "_check", _unfenced),), faults=(Fault.LATE,)
    ),
    "a flush is recorded before its inserts": Lacking(
        Parts(flush_log=RecordedAfterwards), faults=(Fault.CRASH_LATE,), disturbances=12
    ),
    "an open flush is repaired": Lacking(
        Parts(flush_log=Unrepaired), faults=(Fault.CRASH_LATE,), disturbances=12
    ),
    "whoever repairs looks at what is there": Lacking(
        Parts(append_store=SeesAll), faults=(Fault.CRASH_BEFORE,)
    ),
    "tokens of inserts": Lacking(Parts(append_store=Tokenless), faults=(Fault.UNKNOWN, Fault.LATE)),
}

"""The port that a row projection writes through, and the ways in which it can fail."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from projections.batch import Checkpoint, DeadLetter, Keyed, Move, Partition
from projections.rows import Changes
from projections.tables import Row, Want
from schemas.codec import Encoded, encode_batch
from schemas.envelope import Draft
from schemas.errors import InvalidEvent
from schemas.position import Position


class Fenced(Exception):
    """Another worker has taken this partition; let go of it and write nothing."""


class Unavailable(Exception):
    """The store can't be reached or can't write now; whether a commit took effect is unknown."""


class OtherVersion(Exception):
    """The code of a projection has another version than its tables; a rebuild makes them one."""

    def __init__(self, projection: str, code: int, tables: int) -> None:
        super().__init__(
            f"{projection}: the code is version {code}, the tables are version {tables}."
            f" `streams rebuild {projection}` makes the tables of the code's version;"
            " workers of the tables' version may go on meanwhile"
        )


class RowsRefused(Exception):
    """The store refuses a value of these rows (SQLSTATE classes 22, 23, 44, 54 and P0)."""


class Broken(Exception):
    """The store refuses what we ask, whatever the values and however often: a right is missing, a
    function, a login. Somebody must mend it; no event is to blame, and none may become a dead
    letter for it. The process ends with the message, and a supervisor's new start tries again."""


@dataclass(frozen=True)
class Commit:
    """All that one batch changes, applied as a whole or not at all.

    ``resolved`` are the keys of events that this projection had refused at an earlier position
    and has now applied.
    """

    projection: str
    version: int
    moves: Sequence[Move]
    changes: Changes = field(default_factory=Changes)
    dead_letters: Sequence[DeadLetter] = ()
    resolved: Collection[UUID] = ()


def encoded(drafts: Sequence[Draft]) -> list[Encoded]:
    """Derived events as they will stand in the log.

    Raises:
        RowsRefused: one is not valid. Its cause must become a dead letter; the line goes on.
    """
    try:
        return encode_batch(drafts)
    except InvalidEvent as error:
        raise RowsRefused(f"derives an event that is not valid: {error}") from error


class Store(Protocol):
    """Keeps the rows, the checkpoints, the derived events and the dead letters of projections."""

    async def take(
        self, projection: str, places: Sequence[Partition]
    ) -> Mapping[Partition, Checkpoint]:
        """Become the owner of these partitions; whoever had them is fenced from now on."""

    async def regain(
        self, projection: str, held: Mapping[Partition, Checkpoint]
    ) -> Mapping[Partition, Checkpoint]:
        """Those partitions that a rebuild has handed over to this owner, with their new epochs.

        Not if somebody else has taken the partition since. Asked again, it says the same: the
        answer may have been lost.
        """

    async def version(self, projection: str, version: int) -> int:
        """Which version the tables are of; tables that nobody has used yet are of ``version``.

        Raises:
            Unavailable: the tables are being swapped, or the store does not answer.
        """

    async def checkpoint(self, projection: str, place: Partition) -> Checkpoint:
        """Where the projection stands; (0, 0) if it never began."""

    async def load(self, wants: Sequence[Want]) -> Mapping[Want, Sequence[Row]]:
        """The rows that each want asks for."""

    async def refused(self, projection: str, keys: Sequence[UUID]) -> set[UUID]:
        """Those keys whose event this projection refused and has not applied since."""

    async def commit(self, commit: Commit) -> None:
        """Apply the whole commit and move its checkpoints.

        Raises:
            Fenced: a checkpoint is not where the commit expects it, or has another owner.
            RowsRefused: a value is not acceptable; nothing was written.
            Unavailable: the outcome is unknown; read the checkpoint before trying again.
        """


class Index(Protocol):
    """The index of first positions: whether an event is a duplicate is a property of the log."""

    async def judge(
        self,
        parts: Sequence[Keyed],
        unreadable: Sequence[DeadLetter],
        read_at_last: Sequence[Position] = (),
    ) -> list[frozenset[int]]:
        """Record the first position of each event, and dead letters that nobody can read.

        ``read_at_last`` is where dead letters stood that nobody could read and that are among
        these events, because they were retried.

        Returns for each part the offsets of those events that stand at an earlier position
        already. Doing it again changes nothing and gives the same answer.
        """

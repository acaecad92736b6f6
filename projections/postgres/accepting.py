"""Taking another log for the one that the checkpoints are of.

Offsets of the log that is given up mean nothing in the new one, but they are in many rows: as keys,
to tell what came later, to say from where a rule applies. All of them are lowered by one number for
the topic, so that they lie below zero in the order that they had. What was known stays before
whatever the new log brings, and no old offset can be taken for a new one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from projections.batch import Partition
from projections.log_identity import Acceptance, Span, Standing, TopicIdentity
from projections.postgres import queries
from projections.postgres.pool import Connection, Pool, acquire, patient
from projections.postgres.store import ANEW, PROGRESS_CHANNEL

_sql = queries.load("projections.postgres", "accepting.sql")

#: Statements that lower the offsets of a topic ($1) by a number ($2), each in one table.
_LOWERING = tuple(name for name in _sql if name.startswith("lower_") and name != "lower_effective")

#: Whose flushes are tied to checkpoints.
ANALYTICS = "analytics"


class Held:
    """The checkpoints, held by one transaction until the log is accepted or not."""

    def __init__(self, connection: Connection, rows: Sequence[Any]) -> None:
        self._connection = connection
        self.standings = [
            Standing(
                row["projection"], Partition(row["topic"], row["partition"]), row["next_offset"]
            )
            for row in rows
        ]
        self._flushes: dict[Partition, UUID] = {
            Partition(row["topic"], row["partition"]): row["flush"] for row in rows if row["flush"]
        }

    def appended(self, accepted: Acceptance) -> dict[Partition, int]:
        """Up to where rows of appends count, in the partitions whose open flushes are given up.

        A flush that was left open is finished by reading its ranges again, which needs the log
        that it was read from. So it is undone: what is beyond these offsets must be deleted.
        """
        given_up = self._given_up(accepted)
        return {
            one.place: one.next_offset
            for one in self.standings
            if one.projection == ANALYTICS and self._flushes.get(one.place) in given_up
        }

    async def number(self, topic: str, known: TopicIdentity) -> tuple[int, int]:
        """Give up the topic's log: the number that it bears from now on, and its shift."""
        end: int = await self._connection.fetchval(_sql["end_known"], topic)
        depth: int = await self._connection.fetchval(_sql["depth"], topic)
        # By so much that the lowered offsets meet none of those that earlier logs left.
        shift = end + depth
        no: int = await self._connection.fetchval(_sql["retire"], topic, *known, shift)
        return no, shift

    async def accept(
        self,
        accepted: Acceptance,
        shifts: Mapping[str, int],
        found: Mapping[str, TopicIdentity],
        spans: Mapping[Partition, Span],
    ) -> None:
        """Move checkpoints and offsets, and keep which log it is."""
        execute = self._connection.execute
        await execute(_sql["abandon_flushes"], list(self._given_up(accepted)))
        for topic in accepted.retired:
            await self._begin_again(topic, shifts[topic], spans)
        places = sorted(accepted.cut)
        await execute(
            _sql["skip_cut"],
            [place.topic for place in places],
            [place.partition for place in places],
            [accepted.cut[place] for place in places],
        )
        for topic, identity in found.items():
            await execute(_sql["identify"], topic, *identity)
        for row in await self._connection.fetch(_sql["rebuilds"]):
            await execute(f'drop schema if exists "rebuild_{row["name"]}" cascade')
        await execute("select pg_notify($1, $2)", PROGRESS_CHANNEL, ANEW)

    async def _begin_again(self, topic: str, shift: int, spans: Mapping[Partition, Span]) -> None:
        execute = self._connection.execute
        await execute(_sql["list_unapplied"], topic)
        await execute(_sql["lower_effective"], topic)
        for name in _LOWERING:
            await execute(_sql[name], topic, shift)
        await execute(_sql["keep_positions"], topic, shift)
        begins = {
            place.partition: span.begin for place, span in spans.items() if place.topic == topic
        }
        await execute(_sql["begin_again"], topic, list(begins), list(begins.values()))
        await execute(_sql["drop_partitions"], topic, list(begins))
        await execute(_sql["forget_relayed"], topic)

    def _given_up(self, accepted: Acceptance) -> Collection[UUID]:
        return {
            flush
            for place, flush in self._flushes.items()
            if place.topic in accepted.retired or place in accepted.cut
        }


@asynccontextmanager
async def holding(pool: Pool) -> AsyncIterator[Held]:
    """Fence all workers and hold the checkpoints until the block ends; an error undoes it."""
    async with acquire(pool) as connection, connection.transaction():
        await patient(connection)
        await connection.execute(_sql["hold"])
        await connection.execute(_sql["fence"])
        yield Held(connection, await connection.fetch(_sql["checkpoints"]))

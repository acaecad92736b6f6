"""The identity of the log, in the database of the checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

from projections.log_identity import TopicIdentity
from projections.postgres import queries
from projections.postgres.pool import Pool, acquire

_sql = queries.load("projections.postgres", "identity.sql")


class PostgresIdentities:
    """See ``Identities`` for what it promises."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def known(self) -> Mapping[str, TopicIdentity]:
        async with acquire(self._pool) as connection:
            rows = await connection.fetch(_sql["known"])
        return {row["topic"]: TopicIdentity(row["cluster_id"], row["topic_id"]) for row in rows}

    async def learn(self, found: Mapping[str, TopicIdentity]) -> None:
        topics = sorted(found)
        async with acquire(self._pool) as connection:
            await connection.execute(
                _sql["learn"],
                topics,
                [found[topic].cluster_id for topic in topics],
                [found[topic].topic_id for topic in topics],
            )

"""Cursors that are kept under a short name, for all gateway processes."""

from __future__ import annotations

from projections.postgres import queries
from projections.postgres.pool import Pool, acquire

_sql = queries.load("projections.postgres", "cursors.sql")


class PostgresCursors:
    """Keeps payloads for a week."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def keep(self, kept_id: bytes, payload: bytes) -> None:
        """Keep a payload under an id that nobody else has; raises Unavailable."""
        async with acquire(self._pool) as connection:
            await connection.execute(_sql["keep"], kept_id, payload)

    async def find(self, kept_id: bytes) -> bytes | None:
        """What was kept under this id, or None; raises Unavailable."""
        async with acquire(self._pool) as connection:
            found: bytes | None = await connection.fetchval(_sql["find"], kept_id)
        return found

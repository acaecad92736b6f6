"""What the driver raises by itself, without a word from the server."""

from __future__ import annotations

import asyncpg
import pytest

from projections.postgres.pool import translated
from projections.store import Unavailable


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("connection is closed"),
        # Seen when the server goes away while a statement is sent.
        asyncpg.InternalClientError("cannot switch to state 15; another operation is in progress"),
        ConnectionResetError(104, "Connection reset by peer"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_lost_connection_is_waited_for(error: Exception) -> None:
    with pytest.raises(Unavailable):
        async with translated():
            raise error

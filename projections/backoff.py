"""How long to wait before asking a sick neighbour again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from projections.store import Unavailable

#: The first wait, and the longest: a restarting database is back within seconds, and a long
#: outage must be noticed within seconds of its end. Both in seconds.
WAIT_FIRST = 0.1
WAIT_MAX = 5.0

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

logger = logging.getLogger(__name__)


def wait_seconds(attempt: int, chance: random.Random) -> float:
    """The wait after the given attempt (from 1): doubled each time, capped, with jitter."""
    longest = min(WAIT_MAX, WAIT_FIRST * 2.0 ** min(attempt - 1, 30))
    return longest * (0.5 + chance.random() / 2)


async def until_available(
    what: str, call: Callable[[], Awaitable[T]], sleep: Sleep = asyncio.sleep
) -> T:
    """Call until the infrastructure answers; each failure is logged with the wait that follows."""
    chance = random.Random()
    attempt = 0
    while True:
        try:
            return await call()
        except Unavailable as error:
            attempt += 1
            wait = wait_seconds(attempt, chance)
            logger.warning("%s: %s; attempt %d, again in %.1f s", what, error, attempt, wait)
            await sleep(wait)

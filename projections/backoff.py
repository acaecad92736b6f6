"""How long to wait before asking a sick neighbour again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from projections.store import Unavailable

#: The first wait, and the longest: a restarting database is back within seconds, and a long
#: outage must be noticed within seconds of its end. Both in seconds.
WAIT_FIRST = 0.1
WAIT_MAX = 5.0

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

logger = logging.getLogger(__name__)


class Report(Protocol):
    """Hears of attempts that failed, so that others can see what is awaited."""

    def lost(self, call: object, what: str, error: str) -> None:
        """An attempt of ``call`` failed; it goes on trying."""

    def over(self, call: object) -> None:
        """The call succeeded, or was given up."""


def wait_seconds(attempt: int, chance: random.Random) -> float:
    """The wait after the given attempt (from 1): doubled each time, capped, with jitter."""
    longest = min(WAIT_MAX, WAIT_FIRST * 2.0 ** min(attempt - 1, 30))
    return longest * (0.5 + chance.random() / 2)


async def until_available(
    what: str,
    call: Callable[[], Awaitable[T]],
    sleep: Sleep = asyncio.sleep,
    report: Report | None = None,
) -> T:
    """Call until the infrastructure answers; each failure is logged with the wait that follows.

    Args:
        what: what is being done, for the log and for ``report``.
        call: raises Unavailable when it should be tried again.
        sleep: takes seconds.
        report: is told of each failure, and of the end of the trouble.
    """
    attempt = 0
    me = object()
    try:
        while True:
            try:
                return await call()
            except Unavailable as error:
                attempt += 1
                # Made only here: a source of chance costs as much as the call that went well.
                wait = wait_seconds(attempt, random.Random())
                logger.warning("%s: %s; attempt %d, again in %.1f s", what, error, attempt, wait)
                if report is not None:
                    report.lost(me, what, str(error))
                await sleep(wait)
    finally:
        if report is not None and attempt:
            report.over(me)

"""A worker process: Faust carries, the crew folds, until told to stop or something breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import faust

from streams.app import create_app
from streams.crew import Crew, cancelled
from streams.transport import BatchConsumer
from streams.watchdog import Stalled, Unhealed, Watchdog

#: Seconds that leaving the group may take.
LEAVE_SECONDS_MAX = 5.0

logger = logging.getLogger(__name__)


def group_of(names: list[str]) -> str:
    """Workers with the same projections share partitions; others read the log for themselves."""
    return "streams." + ".".join(sorted(names))


async def tend(
    new_crew: Callable[[], Crew], folder: Path, stop: asyncio.Event, watchdog: Watchdog
) -> None:
    """Work until ``stop`` is set; what stands still is begun anew, with a new crew and app.

    Raises:
        Unhealed: new beginnings did not help.
        Exception: what made a crew fail; the process should end with it and be started anew.
    """
    while True:
        try:
            return await work(new_crew(), folder, stop, watchdog)
        except Stalled as stall:
            watchdog.heal(stall)


async def work(
    crew: Crew, folder: Path, stop: asyncio.Event, watchdog: Watchdog | None = None
) -> None:
    """Fold until ``stop`` is set; the batches in hand are committed before it returns.

    Raises:
        Stalled: Faust has ended by itself, or the watchdog found partitions that stand still.
        Unhealed: what stands still can't be ended either.
        Exception: what made the crew fail; the process should end with it and be started anew.
    """
    app = create_app(crew, group_of(crew.names()), folder)
    tasks: list[asyncio.Future[Any]] = [
        asyncio.create_task(stop.wait(), name="stop"),
        asyncio.create_task(_run(app), name="faust"),
    ]
    if watchdog is not None:
        watching = watchdog.run(crew, lambda: _consumer(app))
        tasks.append(asyncio.create_task(watching, name="watchdog"))
    stalled: Stalled | None = None
    try:
        await asyncio.wait([*tasks, crew.failed], return_when=asyncio.FIRST_COMPLETED)
        for end in (crew.failed, *tasks):
            if end.done():
                end.result()
    except Stalled as stall:
        stalled = stall
    finally:
        await crew.stop()
        left = await _left(app)
        await cancelled(tasks)
    if stalled is not None and not left:
        raise Unhealed(f"{stalled}; Faust does not end and would keep its partitions")
    if stalled is not None:
        raise stalled


async def _run(app: faust.App) -> None:
    """Until it ends by itself, which it should not.

    Raises:
        Stalled: always.
    """
    await app.start()
    await app.wait_until_stopped()
    raise Stalled("Faust stopped by itself; its log says why")


def _consumer(app: faust.App) -> BatchConsumer | None:
    running = app.started and not app.should_stop
    return cast(BatchConsumer, app.consumer) if running else None


async def _left(app: faust.App) -> bool:
    """Leave the group, so that others take over at once; not for ever, the broker may be away."""
    stopping = asyncio.create_task(app.stop(), name="faust ends")
    done, _ = await asyncio.wait([stopping], timeout=LEAVE_SECONDS_MAX)
    if not done:
        logger.warning("the group was not left within %g s", LEAVE_SECONDS_MAX)
        await cancelled([stopping])
        return False
    stopping.result()
    return True

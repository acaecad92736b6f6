"""A worker process: Faust carries, the crew folds, until told to stop or something breaks."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from streams.app import create_app
from streams.crew import Crew

logger = logging.getLogger(__name__)


def group_of(names: list[str]) -> str:
    """Workers with the same projections share partitions; others read the log for themselves."""
    return "streams." + ".".join(sorted(names))


async def work(crew: Crew, folder: Path, stop: asyncio.Event) -> None:
    """Fold until ``stop`` is set; the batches in hand are committed before it returns.

    Raises:
        Exception: what made the crew fail; the process should end with it and be started anew.
    """
    app = create_app(crew, group_of(crew.names()), folder)
    await app.start()
    stopping = asyncio.create_task(stop.wait())
    crashed = asyncio.create_task(app.wait_until_stopped())
    ends: list[asyncio.Future[Any]] = [stopping, crashed, crew.failed]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if crew.failed.done():
            crew.failed.result()
        if not stop.is_set():
            raise RuntimeError("Faust stopped by itself; its log says why")
    finally:
        stopping.cancel()
        crashed.cancel()
        await crew.stop()
        await app.stop()

"""What every long-running process of ours shares: log lines, signals, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable

_QUIET = ("faust", "mode", "aiokafka", "abc", "streams.transport", "asyncio")


def set_up_logging(level: str = "INFO") -> None:
    """One line per event on standard error: time in UTC, level, where, what."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format="%(asctime)sZ %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # What goes wrong in an agent's body stops the worker with the facts; what is left to Faust is
    # a traceback for each agent that is cancelled at the end.
    logging.getLogger("faust.agents").setLevel(logging.CRITICAL)


def run_until_signalled(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run ``main`` with an event that SIGTERM or SIGINT sets; a second one does nothing more."""

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(stop)

    asyncio.run(run())

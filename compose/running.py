"""What every long-running process of ours shares: log lines, signals, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import typer
import uvloop

from compose.errors import CommandError
from compose.exit_codes import ExitCode

#: What goes wrong in an agent's body stops the worker with the facts, and a database that is away
#: is told of by whoever waits for it; what is left to these are tracebacks of agents cancelled at
#: the end and of connections that the pool makes in advance, and timers late in a busy loop.
_SILENT = ("faust.agents", "asyncpg", "mode.timers")

#: Seconds that whatever is left behind gets to end by itself when everything else has ended.
LEFT_BEHIND_SECONDS_MAX = 2.0

#: Objects made and not freed again after which Python looks for cycles among them.
GARBAGE_OBJECTS_MIN = 50_000

#: Says the same several times a second for as long as the broker is away.
_TALKATIVE = "aiokafka"

#: Seconds in which such a line comes once.
REPEAT_SECONDS = 10.0

#: Lines that are remembered; those of a library differ by their format, not by what is in it.
_LINES_MAX = 1_000

_QUIET = ("faust", "mode", "aiokafka", "abc", "streams.transport", "asyncio")

logger = logging.getLogger(__name__)


class Repeats(logging.Filter):
    """Lets a talkative library say the same once in a while, and how often it wanted to."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        #: When a line was last let through, and how many of its kind were not since.
        self._lines: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_TALKATIVE):
            return True
        line = record.name, str(record.msg)
        at, left_out = self._lines.get(line, (-REPEAT_SECONDS, 0))
        now = self._clock()
        if now - at < REPEAT_SECONDS:
            self._lines[line] = at, left_out + 1
            return False
        if len(self._lines) >= _LINES_MAX:
            self._lines.clear()
        self._lines[line] = now, 0
        if left_out:
            record.msg = f"{record.msg} (and {left_out} like it before)"
        return True


def set_up_logging(level: str = "INFO") -> None:
    """One line per event on standard error: time in UTC, level, where, what."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format="%(asctime)sZ %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(Repeats())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def run_until_signalled(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run ``main`` with an event that SIGTERM or SIGINT sets; a second one does nothing more.

    When it has ended, the process ends within seconds, whatever tasks and threads still wait for a
    server that hangs: all that matters is in order by then.
    """

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.set_exception_handler(partial(_unasked, stop))
        try:
            await main(stop)
        except CommandError as error:
            _end_soon(error.code, f"error: {error}")
            raise
        except Exception:
            _end_soon(ExitCode.BROKEN)
            raise
        _end_soon(ExitCode.OK)

    _collect_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def _collect_rarely() -> None:
    """Look for cycles of garbage less often: records and rows by the thousand make none, and each
    look costs as much as there is alive."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS_MIN, 50, 100)


def _unasked(stop: asyncio.Event, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What tasks that nobody waits for end with: once we end, they are cut off on purpose."""
    if stop.is_set():
        logger.info("%s: %s", context.get("message"), context.get("exception"))
    else:
        loop.default_exception_handler(context)


def _end_soon(code: ExitCode, message: str = "") -> None:
    def end() -> None:
        if message:
            typer.echo(message, err=True)
        sys.stderr.flush()
        os._exit(code)

    timer = threading.Timer(LEFT_BEHIND_SECONDS_MAX, end)
    timer.daemon = True
    timer.start()

"""An event loop whose time is a number: nobody waits, and every run of a seed is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import Any, TypeVar

from tests.builders import T0

T = TypeVar("T")

#: When histories begin: ten seconds before an hour ends for people in India, so that what is
#: gathered by the hour is due in the middle of a history.
BEGIN = T0 - timedelta(seconds=10)


class Stuck(Exception):
    """Everything waits for something else."""


class _Jumping:
    """Stands where a selector would: instead of waiting for a timer it moves the time to it."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing can happen any more")
        if timeout > 0:
            self.now += timeout
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """Python's own loop and tasks, over virtual time; threads' work is done at once."""

    def __init__(self, created: Callable[[asyncio.Task[Any]], None]) -> None:
        super().__init__()
        self._selector = _Jumping()
        self._created = created

    def time(self) -> float:
        return self._selector.now

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        self._created(task)
        return task

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is whoever awaits the thread who gets it
            done.set_exception(error)
        return done

    def play(self, main: Coroutine[Any, Any, T]) -> T:
        """Run to the end of ``main``."""
        try:
            return self.run_until_complete(main)
        finally:
            self.close()

    def _process_events(self, event_list: Any) -> None:
        """There is no I/O."""

    def _write_to_self(self) -> None:
        """There are no other threads."""


def moment(seconds: float) -> datetime:
    """The virtual time as a date, in whole milliseconds as the log has it."""
    return BEGIN + timedelta(milliseconds=int(seconds * 1000))


def at_once(doing: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing: one step of a server."""
    try:
        doing.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    doing.close()
    raise AssertionError("a step of a server must not wait")

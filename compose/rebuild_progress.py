"""How far a rebuild is, for a person at a terminal or for a program that reads lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from projections.rebuild import Standing, Tell

#: Seconds between two lines of JSON of one phase.
LINE_SECONDS = 1.0


@contextmanager
def shown(name: str, as_json: bool) -> Iterator[Tell]:
    """A bar with events, rate and time left; JSON lines where there is no terminal."""
    if as_json or not sys.stdout.isatty():
        tell = Lines(name, lambda line: print(json.dumps(line), flush=True))
        yield tell
        tell.end()
        return
    with _bar(name) as told:
        yield told


class Lines:
    """One JSON object a second, and one for each new phase.

    ``phase``, ``done`` and ``of`` (records of the log), ``rate`` (records a second since it
    began), ``etaSeconds`` (null while the rate is not known).
    """

    def __init__(
        self,
        name: str,
        write: Callable[[dict[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._write = write
        self._clock = clock
        self._began: tuple[float, int] | None = None
        self._last: tuple[float, str] | None = None
        self._standing: Standing | None = None

    def __call__(self, standing: Standing) -> None:
        now = self._clock()
        self._standing = standing
        if self._began is None:
            self._began = now, standing.done
        if self._last is None or self._last[1] != standing.phase or now >= self._due():
            self._last = now, standing.phase
            self._line(standing, now)

    def end(self) -> None:
        """The new tables serve."""
        if self._standing is not None:
            self._line(self._standing, self._clock(), "done")

    def _due(self) -> float:
        return (self._last or (0.0, ""))[0] + LINE_SECONDS

    def _line(self, standing: Standing, now: float, phase: str | None = None) -> None:
        began, first = self._began or (now, standing.done)
        rate = (standing.done - first) / (now - began) if now > began else 0.0
        left = max(0, standing.of - standing.done)
        self._write(
            {
                "projection": self._name,
                "phase": phase or standing.phase,
                "done": standing.done,
                "of": standing.of,
                "rate": round(rate),
                "etaSeconds": round(left / rate, 1) if rate else None,
            }
        )


@contextmanager
def _bar(name: str) -> Iterator[Tell]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description} {task.fields[phase]}"),
        BarColumn(),
        TextColumn("{task.completed:>11,.0f} events"),
        TextColumn("{task.fields[rate]:>9,.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task(name, total=None, phase="", rate=0.0)
        began: tuple[float, int] | None = None

        def tell(standing: Standing) -> None:
            nonlocal began
            now = time.monotonic()
            began = began or (now, standing.done)
            rate = (standing.done - began[1]) / max(now - began[0], 0.001)
            bar.update(
                task,
                completed=standing.done,
                total=standing.of,
                phase=standing.phase,
                rate=rate,
            )

        yield tell
        bar.update(task, phase="done")

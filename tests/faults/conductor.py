"""The run: load and witnesses on one side, faults on the other, the comparison at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from tests.faults.harm import Harm
from tests.faults.parts import Broken, Load, Target, Witness, together
from tests.faults.processes import Programs
from tests.faults.progress import Progress
from tests.faults.report import Recovery, Report
from tests.faults.schedule import Fault, Round, rounds

#: The system is left alone at first for so long, so that there is something to lose.
PEACE_SECONDS = 3.0

#: A witness or the load that was told to stop must have ended by then.
END_SECONDS_MAX = 60.0

T = TypeVar("T")
Compare = Callable[[Target], Coroutine[Any, Any, list[str]]]


class Conductor:
    """Leads one run; what it finds goes into the report."""

    def __init__(
        self, target: Target, programs: Programs, harm: Harm, progress: Progress, report: Report
    ) -> None:
        self._target = target
        self._programs = programs
        self._harm = harm
        self._progress = progress
        self._report = report
        self._began = time.monotonic()

    async def run(self, load: Load, witnesses: Sequence[Witness], compare: Compare) -> None:
        """From the first event to the comparison.

        Raises:
            Broken: a promise does not hold, or the system stands still.
        """
        self._say("accounts are opened")
        await self._unless_broken(load.prepare())
        stop_load, stop_watching = asyncio.Event(), asyncio.Event()
        sending = asyncio.create_task(load.run(stop_load), name="load")
        watching = [
            asyncio.create_task(witness.run(stop_watching), name=witness.name)
            for witness in witnesses
        ]
        watched = [sending, *watching]
        try:
            await self._unless_broken(self._faults(load), watched)
            self._say("the faults are over; the load ends")
            stop_load.set()
            await self._unless_broken(_in_time(sending), watching)
            await self._rest(watching)
            stop_watching.set()
            for witness in watching:
                await _in_time(witness)
        finally:
            self._report.events = load.sent
            self._report.observations = {each.name: each.observations for each in witnesses}
            await _cancelled(watched)
        self._say("everything is compared with the log")
        self._report.differences = await self._unless_broken(compare(self._target))

    async def _faults(self, load: Load) -> None:
        ends = time.monotonic() + self._report.settings.minutes * 60
        await asyncio.sleep(PEACE_SECONDS)
        for each in rounds(self._target.seed, self._target.broker):
            recovering = await self._round(each)
            try:
                if each.recovers or time.monotonic() > ends:
                    await asyncio.gather(*recovering)
                    self._say(f"recovered; {load.sent} events so far")
            finally:
                await _cancelled(recovering)
            if time.monotonic() > ends:
                return
            await asyncio.sleep(each.pause)

    async def _round(self, each: Round) -> list[asyncio.Task[None]]:
        """Do the faults of a round; returns when all have ended, with who waits for recovery."""
        recovering: list[asyncio.Task[None]] = []

        async def one(fault: Fault) -> None:
            await asyncio.sleep(fault.after)
            self._report.faults.append(fault)
            number = len(self._report.faults)
            self._say(f"#{number} {fault}")
            hit = await self._harm.do(fault)
            self._say(f"#{number} {fault.kind} ended: {hit}")
            recovering.append(asyncio.create_task(self._recovery(fault), name=f"#{number}"))

        try:
            async with together() as group:
                for fault in each.faults:
                    group.create_task(one(fault))
        except Broken:
            await _cancelled(recovering)
            raise
        return recovering

    async def _recovery(self, fault: Fault) -> None:
        ended = time.monotonic()
        mark = await self._progress.mark()
        await self._progress.passed(mark)
        self._report.recoveries.append(Recovery(fault, time.monotonic() - ended))

    async def _rest(self, watching: Sequence[asyncio.Task[None]]) -> None:
        began = time.monotonic()
        await self._unless_broken(self._progress.rest(), watching)
        self._report.rest_seconds = time.monotonic() - began
        self._say(f"at rest after {self._report.rest_seconds:.1f} s")

    async def _unless_broken(
        self, what: Coroutine[Any, Any, T], watched: Sequence[asyncio.Task[None]] = ()
    ) -> T:
        """What it gives, unless one of the watched or a supervisor ends first."""
        task = asyncio.create_task(what)
        others: list[asyncio.Future[Any]] = [*watched, self._programs.broken]
        ends: list[asyncio.Future[Any]] = [task, *others]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for other in others:
                if other.done():
                    other.result()
                    raise Broken(f"{other} ended before it was told to")
            return await task
        finally:
            await _cancelled([task])

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)


async def _in_time(task: asyncio.Task[None]) -> None:
    """Wait for what was told to stop; raises what it raises."""
    done, _ = await asyncio.wait([task], timeout=END_SECONDS_MAX)
    if not done:
        raise Broken(f"{task.get_name()} does not stop within {END_SECONDS_MAX:.0f} s")
    task.result()


async def _cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """End them; what they raised has been seen, or comes after something else that broke."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""The world of one history: time, processes that live and die, and the way of every call."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from datetime import datetime
from typing import Any, NamedTuple, NoReturn, TypeVar
from uuid import UUID

from projections.store import Unavailable
from tests.simulation.clock import VirtualLoop, moment
from tests.simulation.faults import DEATHS, UNDONE, UNHEARD, Fault, Plan

T = TypeVar("T")

#: Virtual seconds: the longest way of a request, the longest stay of one that nobody waits for,
#: and the longest that a stopped process stands still.
TRAVEL_SECONDS_MAX = 1.5
LATE_SECONDS_MAX = 8.0
PAUSE_SECONDS_MAX = 12.0


class Killed(BaseException):
    """The process is dead: it can't reach anything any more."""


class Step(NamedTuple):
    """One line of a trace."""

    time: float
    process: str
    what: str
    note: str

    def __str__(self) -> str:
        return f"{self.time:9.4f}  {self.process:10}  {self.what:24}  {self.note}".rstrip()


class Life:
    """A process from its start to its death; its memory is gone with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.tasks: list[asyncio.Task[Any]] = []
        self.ended = asyncio.Event()
        self._running = asyncio.Event()
        self._running.set()

    @property
    def paused(self) -> bool:
        return not self._running.is_set()

    def kill(self) -> None:
        """Nothing that it does from now on has an effect: every port refuses it."""
        self.alive = False
        self.ended.set()
        self._running.set()
        for task in self.tasks:
            task.cancel()

    def pause(self) -> None:
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    async def up(self) -> None:
        """Return when the process is running.

        Raises:
            Killed: it is dead.
        """
        await self._running.wait()
        if not self.alive:
            raise Killed(self.name)


_life: ContextVar[Life] = ContextVar("life")


def life_of_caller() -> Life:
    """The process that is at work."""
    return _life.get()


class World:
    """Owns the loop and the chance; everything that happens goes through here."""

    def __init__(self, seed: int | str, plan: Callable[[random.Random], Plan]) -> None:
        self.chance = random.Random(f"world {seed}")
        self.plan = plan(self.chance)
        self.loop = VirtualLoop(self._adopt)
        self.loop.set_exception_handler(self._unhandled)
        self.trace: list[Step] = []
        self.lives: list[Life] = []
        self.bugs: list[str] = []
        self.deaths = 0
        #: Until when a server does not answer, by its name.
        self.away: dict[str, float] = {}
        #: Told of each process that is to stand still, and for how many seconds.
        self.stopped: Callable[[Life, float], None] = lambda life, seconds: None
        self._travel_max = TRAVEL_SECONDS_MAX * self.chance.choice((0.02, 0.2, 1.0))
        self._skipped = 0.0
        self._told = asyncio.Event()
        self._late: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        return self.loop.time()

    def clock(self) -> datetime:
        """The time of day, the same for everybody."""
        return moment(self.loop.time() + self._skipped)

    def skip_seconds(self, seconds: float) -> None:
        """Let the time of day run ahead; nobody waits for it."""
        self._skipped += seconds
        self.note("later", f"{seconds:.0f} s")

    def note(self, what: str, note: object = "", process: str = "") -> None:
        self.trace.append(Step(self.loop.time(), process, what, str(note)))

    def bug(self, text: str) -> None:
        """Something that must never happen; the history goes on to its end."""
        self.note("BROKEN", text)
        self.bugs.append(text)

    def new_id(self) -> str:
        return str(UUID(int=self.chance.getrandbits(128)))

    def tell(self) -> None:
        """Wake whoever waits for something to happen."""
        self._told.set()
        self._told = asyncio.Event()

    async def told(self, seconds: float) -> None:
        """Return when something happened, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._told.wait()

    def failed(self, life: Life, error: BaseException) -> None:
        """A process ends by itself; a supervisor starts another."""
        if life.alive and not isinstance(error, Killed):
            self.bug(f"{life.name} ends: {type(error).__name__}: {error}")
            self.kill(life)

    # Processes -----------------------------------------------------------------------------

    def start(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> Life:
        """A new process; its tasks are its own, and die with it."""
        life = Life(name)
        self.lives.append(life)
        context = copy_context()
        context.run(_life.set, life)
        self.loop.create_task(main(), context=context)
        self.note("starts", process=name)
        return life

    def kill(self, life: Life) -> None:
        if life.alive:
            self.note("dies", process=life.name)
            self.deaths += 1
            life.kill()

    async def stop_for(self, life: Life, seconds: float) -> None:
        """The process stands still, as after SIGSTOP, and goes on as if nothing had been."""
        self.note("stands still", f"{seconds:.1f} s", life.name)
        life.pause()
        self.stopped(life, seconds)
        await asyncio.sleep(seconds)
        if life.alive and life.paused:
            self.note("goes on", process=life.name)
            life.resume()

    def _adopt(self, task: asyncio.Task[Any]) -> None:
        life = _life.get(None)
        if life is not None:
            life.tasks.append(task)
            if not life.alive:
                task.cancel()

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, facts: dict[str, Any]) -> None:
        """Tasks of the dead end as they may; nobody else's may fail unheard."""
        error = facts.get("exception")
        if error is not None and not isinstance(error, Killed | Unavailable):
            self.bug(f"{facts['message']}: {error!r}")

    async def up(self) -> None:
        """Return when the process of the caller is running."""
        await _life.get().up()

    # Calls ---------------------------------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        """As long as asked for, more or less; what backoff's own jitter was makes no difference."""
        await asyncio.sleep(self.chance.uniform(0.05, 1.0))

    async def call(
        self, server: str, what: str, step: Callable[[], T], torn: Callable[[], None] | None = None
    ) -> T:
        """A request to a server and its answer, with what may go wrong on the way.

        Args:
            server: who is called; while it is away, nobody answers.
            what: what is asked of it, for the trace.
            step: what it does, at one moment.
            torn: what it does if it is stopped in the middle; possible only without transactions.

        Raises:
            Unavailable: the answer is lost; nobody knows whether the step was taken.
        """
        life = _life.get()
        await life.up()
        fault = self.plan.draw()
        if fault is not None:
            self.note(what, f"! {fault.value}", life.name)
        await self._travel(life, stop=fault is Fault.PAUSE_BEFORE)
        if self.away.get(server, 0.0) > self.now():
            self.note(what, f"{server} is away", life.name)
            raise Unavailable(f"{server} is away")
        if torn is not None and fault in UNDONE and self.chance.random() < 0.5:
            torn()
        if fault in UNHEARD:
            self._later(what, step, life)
        if fault in UNDONE:
            self._break(life, fault, what)
        try:
            result = step()
        except Exception as error:
            self.note(what, f"{type(error).__name__}: {error}", life.name)
            await self._travel(life, stop=False)
            raise
        self.note(what, "", life.name)
        if fault is Fault.CRASH_AFTER or fault is Fault.UNKNOWN:
            self._break(life, fault, what)
        await self._travel(life, stop=fault is Fault.PAUSE_AFTER)
        return result

    def _break(self, life: Life, fault: Fault | None, what: str) -> NoReturn:
        if fault in DEATHS:
            self.kill(life)
            raise Killed(life.name)
        raise Unavailable(f"{what}: the connection was lost")

    async def _travel(self, life: Life, stop: bool) -> None:
        if stop:
            await self.stop_for(life, self.chance.uniform(0.5, PAUSE_SECONDS_MAX))
        way = self.chance.random()
        await asyncio.sleep(self._travel_max * (way - 0.4) ** 3 if way > 0.4 else 0.0)
        await life.up()

    def _later(self, what: str, step: Callable[[], object], life: Life) -> None:
        async def arrive() -> None:
            await asyncio.sleep(LATE_SECONDS_MAX * self.chance.random() ** 2)
            try:
                step()
            except Exception as error:  # noqa: BLE001 - nobody is left to hear of it
                self.note(what, f"late, in vain: {type(error).__name__}: {error}", life.name)
            else:
                self.note(what, "late", life.name)

        # Of no process: a request under way outlives who sent it.
        task = self.loop.create_task(arrive(), context=_NOBODY)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    @property
    def is_late(self) -> bool:
        """Whether some request is still under way that nobody waits for."""
        return bool(self._late)

    async def end(self) -> None:
        """The end of everything, so that no task outlives its loop."""
        for life in self.lives:
            life.kill()
        for life in self.lives:
            await asyncio.gather(*life.tasks, return_exceptions=True)
        for task in list(self._late):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._late, return_exceptions=True)


_NOBODY = copy_context()

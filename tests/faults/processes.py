"""What faults are done to: our own processes with a supervisor, and the servers of the stack."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Protocol

from compose.local import Stack
from compose.local.errors import StartFailed
from compose.local.service import Child, Server, descendants
from tests.faults.parts import Broken

#: How often the supervisor looks, and how long it waits before it starts a process again.
LOOK_SECONDS = 0.1
RESTART_SECONDS = 0.5

#: A process or server that is not ready by then is not coming.
READY_SECONDS_MAX = 90.0

#: A server that is not there after the stack's own time is started again, as often as this.
START_ATTEMPTS_MAX = 3

#: The exit codes by which a process says that an operator is needed: never right in these runs.
NEEDS_OPERATOR = (2, 3, 4)


class Subject(Protocol):
    """Something that runs and can be hurt."""

    name: str

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone, and it stays gone."""
        ...

    async def start(self) -> None:
        """Start it again after `kill`."""
        ...

    def freeze(self) -> None:
        """SIGSTOP."""
        ...

    def thaw(self) -> None:
        """SIGCONT."""
        ...


class Program:
    """One process of ours, which a supervisor starts again when it ends by itself."""

    def __init__(self, server: Server, logs: Path) -> None:
        self.name = server.name
        #: How it ended when nobody had ended it: exit codes, negative for signals.
        self.exits: Counter[int] = Counter()
        self._server = server
        self._logs = logs
        self._held = False
        self._child = Child(server, logs)

    @property
    def pid(self) -> int:
        return self._child.pid

    async def wait_ready(self) -> None:
        """Return when it says that it is at work; raises Broken with what it wrote."""
        deadline = asyncio.get_running_loop().time() + READY_SECONDS_MAX
        while not await asyncio.to_thread(self._server.ready, self._child.pid):
            late = asyncio.get_running_loop().time() > deadline
            if late or self._child.has_ended():
                how = self._child.ending()
                raise Broken(f"{self.name} is not ready, {how}\n{self._child.written()}")
            await asyncio.sleep(LOOK_SECONDS)

    async def watch(self) -> None:
        """The supervisor: runs until cancelled.

        Raises:
            Broken: it ended and says that an operator is needed.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._held or not self._child.has_ended():
                continue
            code = self._child.exit_code
            self.exits[code or 0] += 1
            if code in NEEDS_OPERATOR:
                raise Broken(f"{self.name} ended with {code}:\n{self._child.written()[-2000:]}")
            await asyncio.sleep(RESTART_SECONDS)
            if not self._held and self._child.has_ended():
                self._child = Child(self._server, self._logs)

    async def kill(self) -> None:
        await self.end(signal.SIGKILL)

    async def end(self, how: signal.Signals | None = None) -> None:
        """End it, orderly or by the signal, and keep the supervisor from starting it."""
        self._held = True
        await asyncio.to_thread(self._child.stop, how)

    async def start(self) -> None:
        # In the loop's own thread: the kernel ends a child with the thread that started it.
        self._child = Child(self._server, self._logs)
        self._held = False

    def freeze(self) -> None:
        _signal(self._child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        _signal(self._child.pid, signal.SIGCONT)


class StackServer:
    """One server of the local stack."""

    def __init__(self, name: str, stack: Stack, orders: asyncio.Lock) -> None:
        self.name = name
        self._stack = stack
        # The stack takes one order at a time.
        self._orders = orders
        self._frozen: list[int] = []

    async def kill(self) -> None:
        async with self._orders:
            await asyncio.to_thread(self._stack.stop, self.name, signal.SIGKILL)

    async def start(self) -> None:
        async with self._orders:
            for attempt in range(1, START_ATTEMPTS_MAX + 1):
                try:
                    await asyncio.to_thread(self._stack.start, self.name)
                    break
                except StartFailed as error:
                    if attempt == START_ATTEMPTS_MAX:
                        raise Broken(f"{self.name} does not come back: {error}") from error

    def freeze(self) -> None:
        pid = self._stack.pids[self.name]
        # The parent first: it starts no more children then.
        _signal(pid, signal.SIGSTOP)
        children = descendants(pid)
        self._frozen = [pid, *children]
        for child in children:
            _signal(child, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in reversed(self._frozen):
            _signal(pid, signal.SIGCONT)
        self._frozen = []


class Programs:
    """Our own processes: workers that come and go, the relay, the gateway."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, Program] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        #: A supervisor that cannot go on ends the run.
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone: list[Program] = []

    def start(self, server: Server) -> Program:
        """Start it and keep it running."""
        program = Program(server, self._logs)
        self._running[program.name] = program
        task = asyncio.create_task(program.watch(), name=f"supervisor of {program.name}")
        task.add_done_callback(self._ended)
        self._watching[program.name] = task
        return program

    async def remove(self, name: str) -> None:
        """End it orderly, for good."""
        program = self._running.pop(name)
        self._watching.pop(name).cancel()
        self._gone.append(program)
        await program.end()

    def __getitem__(self, name: str) -> Program:
        return self._running[name]

    def names(self, prefix: str = "") -> list[str]:
        """The names of those that are kept running, in order."""
        return sorted(name for name in self._running if name.startswith(prefix))

    def exits(self) -> Counter[tuple[str, int]]:
        """How often each ended by itself, by name and exit code."""
        return Counter(
            {
                (program.name, code): count
                for program in (*self._gone, *self._running.values())
                for code, count in program.exits.items()
            }
        )

    async def close(self) -> None:
        """End them all; what was stopped goes on so that it can end."""
        for task in self._watching.values():
            task.cancel()
        await asyncio.gather(*self._watching.values(), return_exceptions=True)
        for program in self._running.values():
            program.thaw()
        await asyncio.gather(*(program.end() for program in self._running.values()))

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.broken.done():
            return
        if error := task.exception():
            self.broken.set_exception(error)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        # It ended by itself meanwhile; its supervisor sees to that.
        return

"""One server of the stack as a child process of the supervisor."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from compose.local.errors import LocalStackError, start_failed

# How often a server that is starting is asked whether it is ready.
ASK_SECONDS = 0.02
# A server that is not ready by then is given up: the slowest (a JVM on a busy machine) needs some
# 10 s.
START_SECONDS_MAX = 60.0
# An orderly end writes out what is in memory; after this the server is killed.
STOP_SECONDS_MAX = 15.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Command:
    """What to run."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    """The system's user to run as; None for the caller's."""


class Server(Protocol):
    """What the supervisor must know of a server."""

    name: str
    """`kafka`, `postgres`, `clickhouse`: the key of its address."""
    url: str
    stop_signal: signal.Signals
    """Asks for an orderly end."""

    def prepare(self) -> None:
        """Make what is needed before the first start; does nothing when it is there."""

    def command(self) -> Command:
        """What to run."""

    def ready(self, pid: int) -> bool:
        """Whether the server answers; asked again and again, so it must return soon."""


class Child:
    """A server's running process; it dies with the supervisor, however that ends."""

    def __init__(self, server: Server, logs: Path) -> None:
        server.prepare()
        self.server = server
        self.log = logs / f"{server.name}.log"
        command = server.command()
        with self.log.open("ab") as out:
            self._log_start = out.tell()
            self._process = subprocess.Popen(
                command.argv,
                env={**os.environ, **command.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                user=command.user,
                group=command.user,
                extra_groups=[] if command.user else None,
                start_new_session=True,
                preexec_fn=_follow_parent(server.stop_signal),
            )
        self.pid = self._process.pid

    def wait_ready(self) -> None:
        """Return when the server answers; raises StartFailed."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.server.ready(self.pid):
            if self._ended_within(ASK_SECONDS):
                raise start_failed(self.server.name, self.ending(), self.written())
            if time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                why = f"not ready after {START_SECONDS_MAX:.0f} s"
                raise start_failed(self.server.name, why, self.written())

    def stop(self, how: signal.Signals | None = None) -> None:
        """End the server and wait until it is gone, with the processes that it started."""
        offspring = descendants(self.pid)
        if self._process.poll() is None:
            self._process.send_signal(how or self.server.stop_signal)
            if not self._ended_within(STOP_SECONDS_MAX):
                self._process.kill()
                self._process.wait()
        await_gone(offspring)

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for the signal that ended it; None while it runs."""
        return self._process.poll()

    def ending(self) -> str:
        """How the process ended, in words."""
        code = self._process.poll()
        if code is None:
            return "it runs"
        if code < 0:
            return f"ended by {signal.Signals(-code).name}"
        return f"ended with status {code}"

    def written(self) -> str:
        """What this process wrote."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")

    def _ended_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def _follow_parent(stop: signal.Signals) -> Callable[[], None] | None:
    """For the child before it becomes the server: get `stop` when the parent is gone.

    It must come after the change of user, which clears it. The kernel watches the parent's
    thread, not its process; the supervisor has only one. Elsewhere than on Linux the supervisor's
    own end is all there is.
    """
    if not sys.platform.startswith("linux"):
        return None
    parent = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def follow() -> None:
        prctl(_PR_SET_PDEATHSIG, int(stop), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return follow


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that these started."""
    import psutil

    try:
        return [each.pid for each in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def await_gone(pids: list[int], seconds: float = STOP_SECONDS_MAX) -> None:
    """Wait until the processes are gone; kills those that stay."""
    import psutil

    alive = []
    for pid in pids:
        try:
            alive.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(alive, seconds)
    for each in alive:
        each.kill()
    _, alive = psutil.wait_procs(alive, seconds)
    if alive:
        raise LocalStackError(f"processes {[each.pid for each in alive]} cannot be ended")

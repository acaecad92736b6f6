"""The supervisor of the fault runs, with real processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from compose.local.service import Command
from tests.faults.parts import Broken
from tests.faults.processes import Programs

AWAITED_SECONDS_MAX = 20.0


@dataclass
class Shell:
    """A line of shell as a server."""

    script: str
    name: str = "shell"
    url: str = ""
    stop_signal: signal.Signals = signal.SIGTERM

    def prepare(self) -> None:
        """Nothing."""

    def command(self) -> Command:
        return Command(("sh", "-c", self.script))

    def ready(self, pid: int) -> bool:
        return True


@pytest.fixture
async def programs(tmp_path: Path) -> AsyncIterator[Programs]:
    made = Programs(tmp_path)
    try:
        yield made
    finally:
        await made.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(AWAITED_SECONDS_MAX):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


async def test_what_ends_by_itself_is_started_again_and_counted(programs: Programs) -> None:
    programs.start(Shell("exit 7"))
    await until(lambda: programs.exits()["shell", 7] >= 2)


async def test_a_need_for_an_operator_ends_the_run(programs: Programs) -> None:
    programs.start(Shell("echo another log; exit 3"))
    async with asyncio.timeout(AWAITED_SECONDS_MAX):
        with pytest.raises(Broken, match="another log"):
            await programs.broken


async def test_what_was_killed_stays_away_until_it_is_started(programs: Programs) -> None:
    program = programs.start(Shell("exec sleep 60"))
    killed = program.pid
    await program.kill()
    assert not psutil.pid_exists(killed)
    # Longer than the supervisor waits before it starts what ended by itself.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await programs.broken
    assert program.pid == killed
    await program.start()
    assert psutil.pid_exists(program.pid)
    assert not programs.exits()


async def test_what_is_frozen_goes_on_when_thawed(programs: Programs) -> None:
    program = programs.start(Shell("exec sleep 60"))
    process = psutil.Process(program.pid)
    program.freeze()
    await until(lambda: process.status() == psutil.STATUS_STOPPED)
    program.thaw()
    await until(lambda: process.status() != psutil.STATUS_STOPPED)


async def test_what_is_removed_is_not_missed(programs: Programs) -> None:
    program = programs.start(Shell("exec sleep 60"))
    await programs.remove("shell")
    assert not psutil.pid_exists(program.pid)
    assert programs.names() == []

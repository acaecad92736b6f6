"""The process above the servers: starts them, watches them, ends them.

It is started by `local_stack` and `streams local up` and talks in lines of JSON: the first line
it writes says that all servers answer, or why not. Attached to a parent (`--attached`), it reads
commands from standard input, and ends with the stack when that closes: so a parent's SIGKILL ends
it too, whichever thread had started it. Should the supervisor itself be killed, the kernel ends
the servers (`service.py`).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from compose.local import state
from compose.local.broker import Tansu
from compose.local.clickhouse import ClickHouse
from compose.local.errors import LocalStackError, already_running
from compose.local.kafka import Kafka
from compose.local.ports import Proxied
from compose.local.postgres import Postgres
from compose.local.service import Child, Server

_COMMAND_BYTES_MAX = 65_536
_ADDRESSES = ("kafka", "postgres", "clickhouse")


def servers_of(
    folder: Path, ports: Mapping[str, int], *, kafka: bool, proxied: Proxied | None = None
) -> list[Server]:
    """The servers of a stack, the slowest to become ready first."""
    broker: Server = (
        Kafka(folder / "kafka", ports["kafka"], ports["controller"], proxied)
        if kafka
        else Tansu(ports["kafka"])
    )
    return [
        broker,
        ClickHouse(folder / "clickhouse", ports["clickhouse"]),
        Postgres(folder / "postgres", ports["postgres"]),
    ]


class Supervisor:
    """The running servers of one folder."""

    def __init__(self, folder: Path, servers: list[Server], *, durable: bool) -> None:
        self._folder = folder
        self._servers = {server.name: server for server in servers}
        self._children: dict[str, Child] = {}
        self._ended: dict[str, str] = {}
        self._durable = durable
        self._logs = folder / "logs"

    def start(self) -> None:
        """Start all at once and wait until all answer; raises StartFailed and its like."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for name, server in self._servers.items():
            self._children[name] = Child(server, self._logs)
        for child in self._children.values():
            child.wait_ready()
        self._write_state()

    def stop(self) -> None:
        """End all, the last started first."""
        for child in reversed(self._children.values()):
            child.stop()
        self._children.clear()
        state.clear_state(self._folder)

    def notice_ends(self) -> None:
        """Write down which servers ended by themselves."""
        gone = {n: c for n, c in self._children.items() if c.has_ended() and n not in self._ended}
        for name, child in gone.items():
            self._ended[name] = child.ending()
            print(f"{name}: {child.ending()}\n{child.written()[-2000:]}", file=sys.stderr)
        if gone:
            self._write_state()

    def obey(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Stop or start one server, for tests of what happens when it is away."""
        name = command["server"]
        child = self._children[name]
        if command["do"] == "stop":
            child.stop(signal.Signals(command["signal"]) if command.get("signal") else None)
            self._ended[name] = child.ending()
        elif command["do"] == "start" and child.has_ended():
            child = self._children[name] = Child(self._servers[name], self._logs)
            child.wait_ready()
            self._ended.pop(name, None)
        self._write_state()
        return self.report()

    def report(self) -> dict[str, Any]:
        """Addresses and process numbers."""
        return {
            "addresses": {name: self._servers[name].url for name in _ADDRESSES},
            "pids": {name: child.pid for name, child in self._children.items()},
        }

    def _write_state(self) -> None:
        me = state.process(os.getpid())
        if me is None:
            raise LocalStackError("the supervisor cannot see its own process")
        report = self.report()
        content = state.State(
            me, report["addresses"], report["pids"], self._durable, dict(self._ended)
        )
        state.write_state(self._folder, content)


def supervise(supervisor: Supervisor, orders: IO[bytes] | None) -> None:
    """Run until SIGTERM, or until `orders` closes; always ends the servers."""
    try:
        supervisor.start()
        _tell(supervisor.report())
        with _wakeups() as wakeup, selectors.DefaultSelector() as selector:
            selector.register(wakeup, selectors.EVENT_READ)
            if orders is not None:
                selector.register(orders, selectors.EVENT_READ)
            while _turn(supervisor, selector, wakeup):
                pass
    except LocalStackError as error:
        _tell(_as_error(error))
    finally:
        # A second Ctrl-C must not leave servers behind.
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        supervisor.stop()


def _turn(supervisor: Supervisor, selector: selectors.BaseSelector, wakeup: socket.socket) -> bool:
    """Wait for something and see to it; whether to go on."""
    for key, _ in selector.select():
        if key.fileobj is wakeup:
            wakeup.recv(_COMMAND_BYTES_MAX)
            supervisor.notice_ends()
            continue
        lines = os.read(key.fd, _COMMAND_BYTES_MAX)
        if not lines:
            return False
        for line in lines.splitlines():
            try:
                _tell(supervisor.obey(json.loads(line)))
            except LocalStackError as error:
                _tell(_as_error(error))
    return True


def _tell(message: Mapping[str, Any]) -> None:
    """One line to the parent."""
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        # The parent is gone. What it held open closes too and ends this process; until then
        # nothing may be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_error(error: LocalStackError) -> dict[str, str]:
    return {"error": str(error), "kind": type(error).__name__}


@contextmanager
def _wakeups() -> Iterator[socket.socket]:
    """A socket that becomes readable when a child ends."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            # One may have ended before.
            writer.send(b"\0")
            yield reader
        finally:
            signal.set_wakeup_fd(-1)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One supervisor per folder; the system gives the lock back however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise already_running(folder) from None
        yield


def _proxied(given: str) -> Proxied:
    listener, advertised = given.split(":")
    return Proxied(int(listener), int(advertised))


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    """The process."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--ports", type=json.loads, required=True)
    arguments.add_argument("--kafka", action="store_true")
    arguments.add_argument("--proxied", type=_proxied, help="listener:advertised")
    arguments.add_argument("--attached", action="store_true")
    given = arguments.parse_args()
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, _end)
    try:
        with _lock(given.folder):
            servers = servers_of(
                given.folder, given.ports, kafka=given.kafka, proxied=given.proxied
            )
            supervisor = Supervisor(given.folder, servers, durable=given.kafka)
            supervise(supervisor, sys.stdin.buffer if given.attached else None)
    except LocalStackError as error:
        _tell(_as_error(error))


if __name__ == "__main__":
    main()

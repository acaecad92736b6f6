"""Our own processes as children: the worker and the gateway that serve one local stack."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from compose.local import state
from compose.local.service import Child, Command, Server

GATEWAY_PORT = 4025

_ASK_SECONDS_MAX = 2.0
_KEEPER = "keeper.json"


def environment_of(folder: Path, addresses: Mapping[str, str], partitions: int) -> dict[str, str]:
    """The settings of a process that serves the stack in this folder."""
    return {
        "STREAMS_LOCAL_FOLDER": str(folder),
        "STREAMS_KAFKA": addresses["kafka"],
        "STREAMS_POSTGRES": addresses["postgres"],
        "STREAMS_CLICKHOUSE": addresses["clickhouse"],
        "STREAMS_PARTITIONS": str(partitions),
    }


@dataclass
class _Marked:
    """A process that makes a file once it is at work."""

    folder: Path
    env: Mapping[str, str]
    name: str = ""
    url: str = ""
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def _mark(self) -> Path:
        return self.folder / f"{self.name}.ready"

    def prepare(self) -> None:
        self._mark.unlink(missing_ok=True)

    def ready(self, pid: int) -> bool:
        return self._mark.exists()


@dataclass
class Worker(_Marked):
    """`streams worker`; ready once it owns partitions."""

    name: str = "worker"
    arguments: tuple[str, ...] = ()
    """More options of `streams worker`."""

    def command(self) -> Command:
        return _streams(self.env, "worker", "--ready-file", str(self._mark), *self.arguments)


@dataclass
class Relay(_Marked):
    """`streams relay`, for workers with `--no-relay`; ready once it leads or stands by."""

    name: str = "relay"

    def command(self) -> Command:
        return _streams(self.env, "relay", "--ready-file", str(self._mark))


@dataclass
class Gateway:
    """`streams gateway`; ready once it has registered itself and answers."""

    folder: Path
    env: Mapping[str, str]
    port: int = GATEWAY_PORT
    name: str = "gateway"
    url: str = ""
    stop_signal: signal.Signals = signal.SIGTERM

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Nothing is needed before the start."""

    def command(self) -> Command:
        return _streams(self.env, "gateway", "--port", str(self.port))

    def ready(self, pid: int) -> bool:
        url = state.gateway(self.folder)
        if url is None:
            return False
        try:
            with urlopen(f"{url}/health", timeout=_ASK_SECONDS_MAX) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


def _streams(env: Mapping[str, str], *arguments: str) -> Command:
    return Command((sys.executable, "-P", "-m", "compose.cli", *arguments), dict(env))


@contextmanager
def serving(folder: Path, env: Mapping[str, str], port: int) -> Iterator[list[Child]]:
    """Worker and gateway of a stack for the length of the block; returns when both are ready.

    Raises:
        StartFailed: one of them ended or did not become ready; the message has what it wrote.
    """
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    children: list[Child] = []
    servers: tuple[Server, ...] = (Worker(folder, env), Gateway(folder, env, port))
    try:
        for server in servers:
            children.append(Child(server, logs))
        for child in children:
            child.wait_ready()
        yield children
    finally:
        for child in reversed(children):
            child.stop()


def write_keeper(folder: Path) -> None:
    """The calling process keeps worker and gateway of this folder running."""
    me = state.process(os.getpid())
    if me is not None:
        (folder / _KEEPER).write_text(json.dumps({"pid": me.pid, "started": me.started}))


def keeper(folder: Path) -> state.Process | None:
    """The process that keeps worker and gateway of this folder running, if one does."""
    try:
        found: dict[str, Any] = json.loads((folder / _KEEPER).read_text())
    except FileNotFoundError:
        return None
    kept = state.Process(**found)
    return kept if kept.runs() else None

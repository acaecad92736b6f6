"""What the folder of a local stack says about it.

`state.json` is written by the supervisor once all servers answer, `gateway.json` by a gateway
that serves this stack; both hold the process that wrote them, so that what a killed process left
behind is not taken for the truth. `ports.json` remembers the ports for the next time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

DEFAULT_FOLDER = ".local"
FOLDER_VARIABLE = "STREAMS_LOCAL_FOLDER"

_STATE = "state.json"
_GATEWAY = "gateway.json"
_PORTS = "ports.json"


@dataclass(frozen=True)
class Process:
    """A process, told apart from a later one with the same number."""

    pid: int
    started: float
    """Seconds since 1970, as the system knows them."""

    def runs(self) -> bool:
        """Whether this very process is alive."""
        return process(self.pid) == self


@dataclass(frozen=True)
class State:
    """A stack that runs."""

    supervisor: Process
    addresses: Mapping[str, str]
    """`kafka`, `postgres`, `clickhouse`."""
    pids: Mapping[str, int]
    durable: bool
    """Whether the log outlives the stack."""
    ended: Mapping[str, str] = field(default_factory=dict)
    """Servers that ended by themselves, and how."""


def folder_of(folder: Path | None) -> Path:
    """The folder asked for, else the environment's, else `.local` here."""
    chosen = folder or Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)
    return chosen.expanduser().resolve()


def process(pid: int) -> Process | None:
    """The process with this number, if one is alive."""
    import psutil

    try:
        found = psutil.Process(pid)
        if found.status() == psutil.STATUS_ZOMBIE:
            return None
        return Process(pid, found.create_time())
    except psutil.NoSuchProcess:
        return None


def write_state(folder: Path, state: State) -> None:
    """For the supervisor."""
    _write(folder / _STATE, asdict(state))


def running(folder: Path) -> State | None:
    """The stack that runs in the folder; None when none does, whatever an earlier one left."""
    found = _read(folder / _STATE)
    if found is None:
        return None
    state = State(**{**found, "supervisor": Process(**found["supervisor"])})
    return state if state.supervisor.runs() else None


def clear_state(folder: Path) -> None:
    """For the supervisor at its end."""
    (folder / _STATE).unlink(missing_ok=True)


def register_gateway(folder: Path, url: str) -> None:
    """Called by a gateway once it listens: from now on the stack's addresses show its URL.

    It need not be taken back: the entry counts as long as the calling process lives.
    """
    mine = process(os.getpid())
    if mine is not None:
        _write(folder / _GATEWAY, {"url": url, "process": asdict(mine)})


def gateway(folder: Path) -> str | None:
    """The URL of the gateway that serves this stack, if one runs."""
    found = _read(folder / _GATEWAY)
    if found is None or not Process(**found["process"]).runs():
        return None
    return str(found["url"])


def addresses(folder: Path, state: State) -> dict[str, str]:
    """All addresses, as `streams local status --json` prints them."""
    url = gateway(folder)
    return {**state.addresses, **({"gateway": url} if url else {})}


def last_ports(folder: Path) -> dict[str, int]:
    """The ports of last time."""
    return {name: int(port) for name, port in (_read(folder / _PORTS) or {}).items()}


def remember_ports(folder: Path, ports: Mapping[str, int]) -> None:
    """For the next start."""
    _write(folder / _PORTS, dict(ports))


def _write(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all, for readers in other processes."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(json.dumps(content, indent=1) + "\n")
    new.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return content

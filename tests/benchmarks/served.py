"""Gateways and bare servers beside a stand, and tokens that the gateways believe."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from compose.local import tokens
from compose.local.ports import choose_ports
from compose.local.service import Child, Command
from compose.processes import Gateway, Worker
from schemas.codec import TENANT
from tests.benchmarks.stand import Stand

#: Nobody is refused for asking often: a benchmark asks as often as it can.
UNLIMITED = {"STREAMS_RATE_LIMIT_PER_MINUTE": "1000000000"}

#: Files that the processes of a benchmark may have open, if the machine lets them.
FILES_MAX = 20_000

_ASK_SECONDS_MAX = 2.0


@dataclass(frozen=True)
class Served:
    """A server that answers on 127.0.0.1."""

    port: int
    child: Child

    @property
    def pid(self) -> int:
        return self.child.pid


@dataclass
class Bare:
    """`tests.benchmarks.bare`: the same questions by hand, under the gateway's own uvicorn."""

    port: int
    env: Mapping[str, str]
    name: str = "bare"
    url: str = ""
    stop_signal: signal.Signals = signal.SIGTERM
    arguments: tuple[str, ...] = field(default=())

    def prepare(self) -> None:
        """Nothing is needed before the start."""

    def command(self) -> Command:
        argv = (sys.executable, "-m", "tests.benchmarks.bare", str(self.port), *self.arguments)
        return Command(argv, dict(self.env))

    def ready(self, pid: int) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/nothing", timeout=_ASK_SECONDS_MAX):
                return True
        except (URLError, OSError):
            return False


def serve_gateway(stand: Stand, **settings: str) -> Served:
    """Start a gateway on this stand; `settings` are `STREAMS_…` variables without the prefix."""
    port = free_port()
    more = {f"STREAMS_{name}": value for name, value in settings.items()}
    return Served(
        port, stand.start(Gateway(stand.folder, {**stand.env, **UNLIMITED, **more}, port))
    )


def serve_bare(stand: Stand) -> Served:
    """Start the bare routes on this stand."""
    port = free_port()
    return Served(port, stand.start(Bare(port, stand.env)))


def start_worker(stand: Stand) -> Child:
    """Start a worker on this stand."""
    return stand.start(Worker(stand.folder, stand.env))


def token(stand: Stand, user: str, *scopes: str) -> str:
    """A token of this person for the stand's gateways, valid for an hour."""
    key = tokens.secret(stand.folder)
    return tokens.mint(key, user, scopes, tenant=TENANT, ttl_seconds=3600)


def request(method: str, path: str, headers: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of a request without a body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode()


def posted(path: str, headers: Mapping[str, Any], body: bytes) -> bytes:
    """The bytes of a POST with this body."""
    return request("POST", path, {**headers, "Content-Length": len(body)}) + body


def free_port() -> int:
    return choose_ports({"server": 0}, {})["server"]


def allow_files(wanted: int) -> int:
    """Let this process, and those that it starts, open so many files; what the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(soft, allowed)

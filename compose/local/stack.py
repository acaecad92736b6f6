"""Broker, PostgreSQL and ClickHouse on this machine, from wheels alone.

    with local_stack(Path(".local")) as stack:
        stack.kafka, stack.postgres, stack.clickhouse

Everything listens on 127.0.0.1 and keeps its data in the folder; it ends with the block, and also
when the process of the block is killed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from compose.local import state
from compose.local.errors import BY_NAME, LocalStackError, StartFailed
from compose.local.ports import Proxied, choose_ports

# A port chosen free may be taken by the time the server binds it; then others are chosen.
_PORT_ATTEMPTS_MAX = 4
_END_SECONDS_MAX = 60.0
# The supervisor takes orders, and ends with the process that gives them.
_ATTACHED = "--attached"


@dataclass(frozen=True)
class Ports:
    """Ports asked for; 0 stands for any free one."""

    kafka: int = 0
    postgres: int = 0
    clickhouse: int = 0


class Stack:
    """A stack that runs as long as its `local_stack` block."""

    def __init__(self, folder: Path, supervisor: subprocess.Popen[bytes], report: Any) -> None:
        self.folder = folder
        self.supervisor_pid = supervisor.pid
        self._supervisor = supervisor
        self._take(report)

    kafka: str
    """`127.0.0.1:port`, for `bootstrap.servers`."""
    postgres: str
    """`postgresql://…`"""
    clickhouse: str
    """`http://127.0.0.1:port`"""
    addresses: Mapping[str, str]
    """These three by their names."""
    pids: dict[str, int]
    """The server processes by name (`kafka`, `postgres`, `clickhouse`)."""

    def stop(self, server: str, how: signal.Signals | None = None) -> None:
        """End one server, orderly or by the signal given; returns when it is gone.

        The broker without `--kafka` has its log in memory: it comes back empty.
        """
        self._order({"do": "stop", "server": server, "signal": how and int(how)})

    def start(self, server: str) -> None:
        """Start it again at its address; returns when it answers. Raises StartFailed."""
        self._order({"do": "start", "server": server})

    def _order(self, command: Mapping[str, Any]) -> None:
        if self._supervisor.stdin is None:
            raise LocalStackError("this stack was not started here")
        self._supervisor.stdin.write(json.dumps(command).encode() + b"\n")
        self._supervisor.stdin.flush()
        self._take(_answer(self._supervisor, self.folder))

    def _take(self, report: Any) -> None:
        self.addresses = report["addresses"]
        self.kafka = self.addresses["kafka"]
        self.postgres = self.addresses["postgres"]
        self.clickhouse = self.addresses["clickhouse"]
        self.pids = report["pids"]


@contextmanager
def local_stack(
    folder: Path,
    kafka: bool = False,
    ports: Ports = Ports(),
    proxied: Proxied | None = None,
) -> Iterator[Stack]:
    """Run a stack for the length of the block; returns when every server answers.

    `kafka` takes Apache Kafka, whose log lasts, for the broker in memory; `proxied` gives it a
    second way in, through something of the caller's. Raises a LocalStackError
    (AlreadyRunning, PortTaken, NotInstalled, OtherVersion, StartFailed).
    """
    folder = folder.expanduser().resolve()
    options = _options(kafka=kafka, attached=True, proxied=proxied)
    supervisor, report = _launch(folder, options, kafka=kafka, ports=ports)
    try:
        yield Stack(folder, supervisor, report)
    finally:
        _part(supervisor)


def launch_detached(folder: Path, *, kafka: bool, ports: Ports) -> None:
    """Start a stack that outlives this process; returns when every server answers.

    Raises what `local_stack` raises.
    """
    options = _options(kafka=kafka, attached=False)
    supervisor, _ = _launch(folder, options, kafka=kafka, ports=ports)
    if supervisor.stdout:
        supervisor.stdout.close()
    # It is to outlive this process, which therefore has no child to wait for.
    supervisor.returncode = 0


def end_detached(stack: state.State) -> None:
    """End a stack that runs, however it was started; returns when all of it is gone.

    Raises LocalStackError when it does not end.
    """
    import psutil

    try:
        supervisor = psutil.Process(stack.supervisor.pid)
        supervisor.terminate()
        supervisor.wait(_END_SECONDS_MAX)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired as error:
        raise LocalStackError(f"process {stack.supervisor.pid} does not end") from error


def _launch(
    folder: Path, options: Sequence[str], *, kafka: bool, ports: Ports
) -> tuple[subprocess.Popen[bytes], Any]:
    """Start a supervisor and read its first line."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "logs").mkdir(exist_ok=True)
    wanted = {"kafka": ports.kafka, "postgres": ports.postgres, "clickhouse": ports.clickhouse}
    if kafka:
        wanted["controller"] = 0
    for attempt in range(1, _PORT_ATTEMPTS_MAX + 1):
        last = state.last_ports(folder) if attempt == 1 else {}
        chosen = choose_ports(wanted, last)
        supervisor = _spawn(folder, chosen, options)
        try:
            report = _answer(supervisor, folder)
        except StartFailed as error:
            _part(supervisor)
            if "in use" not in str(error) or attempt == _PORT_ATTEMPTS_MAX:
                raise
        except BaseException:
            # Ctrl-C too: a detached supervisor hears of it from nobody else.
            supervisor.terminate()
            _part(supervisor)
            raise
        else:
            state.remember_ports(folder, chosen)
            return supervisor, report
    raise LocalStackError("no ports could be had")


def _options(*, kafka: bool, attached: bool, proxied: Proxied | None = None) -> list[str]:
    options = ["--kafka"] if kafka else []
    options += [_ATTACHED] if attached else []
    options += ["--proxied", f"{proxied.listener}:{proxied.advertised}"] if proxied else []
    return options


def _spawn(
    folder: Path, ports: Mapping[str, int], options: Sequence[str]
) -> subprocess.Popen[bytes]:
    # -P: a folder called `compose` where the command is typed is not this package.
    argv = [sys.executable, "-P", "-m", "compose.local.supervisor", "--folder", str(folder)]
    argv += ["--ports", json.dumps(dict(ports)), *options]
    with _log(folder) as log:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if _ATTACHED in options else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            # Ctrl-C is for the process that uses the stack; the stack ends after it.
            start_new_session=True,
        )


def _part(supervisor: subprocess.Popen[bytes]) -> None:
    """Let the supervisor end the stack, and wait for it."""
    if supervisor.stdin:
        supervisor.stdin.close()
    if supervisor.stdout:
        supervisor.stdout.close()
    supervisor.wait(_END_SECONDS_MAX)


def _log(folder: Path) -> IO[bytes]:
    return (folder / "logs" / "supervisor.log").open("ab")


def _answer(supervisor: subprocess.Popen[bytes], folder: Path) -> Any:
    """The supervisor's next line; raises what it says went wrong."""
    line = supervisor.stdout.readline() if supervisor.stdout else b""
    if not line:
        code = supervisor.wait()
        raise LocalStackError(f"the supervisor ended ({code}); see {folder / 'logs'}")
    message = json.loads(line)
    if "error" in message:
        raise BY_NAME.get(message["kind"], LocalStackError)(message["error"])
    return message

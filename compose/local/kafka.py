"""Apache Kafka."""

from __future__ import annotations
import signal
from pathlib import Path
from compose.local.service import Command


class Kafka:
    name = "kafka"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, port: int, controller_port: int) -> None:
        self.url = f"127.0.0.1:{port}"

    def prepare(self) -> None: ...
    def command(self) -> Command:
        raise NotImplementedError

    def ready(self, pid: int) -> bool:
        return False

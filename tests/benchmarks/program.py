"""A command as a child of a stand."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compose.local.service import Command


@dataclass
class Program:
    """Python with these arguments; ready once it has made the file of its name."""

    folder: Path
    name: str
    arguments: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def mark(self) -> Path:
        """The file that says that it is at work."""
        return mark_of(self.folder, self.name)

    def prepare(self) -> None:
        self.mark.unlink(missing_ok=True)

    def command(self) -> Command:
        return Command((sys.executable, *self.arguments), dict(self.env))

    def ready(self, pid: int) -> bool:
        """Asked again and again."""
        return self.mark.exists()


def mark_of(folder: Path, name: str) -> Path:
    """The file by which a program of that name tells that it is ready."""
    return folder / f"{name}.ready"

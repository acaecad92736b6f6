"""The contestants as processes: what each is called, how it is started, how much it is given."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compose.local.service import Command
from tests.benchmarks.peer.events import PARTITIONS, TOPIC

ROOT = Path(__file__).parents[3]
#: Made by `make bench`; it holds what `requirements.txt` names, and nothing of the product.
PYTHON = ROOT / ".venv-bench" / "bin" / "python"

_CONTESTANTS = "tests.benchmarks.peer.contestants"
_FAUST = ("worker", "--loglevel=warn", "--without-web")

OURS = "ours"
LIMIT = "limit"
#: Stock Faust as its users begin: one event at a time.
FAUST = "faust-event"


@dataclass(frozen=True)
class Contestant:
    """A program that does the job."""

    name: str
    #: What follows `python -m`.
    module: tuple[str, ...]
    #: Events after which it is stopped; None for the whole log. The slow ones get a stretch.
    events_max: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    #: Whether it counts when the best Python framework is looked for.
    framework: bool = True


CONTESTANTS: tuple[Contestant, ...] = (
    Contestant(LIMIT, (f"{_CONTESTANTS}.limit",), framework=False),
    Contestant(OURS, (), framework=False),
    Contestant(FAUST, (f"{_CONTESTANTS}.faust_event", *_FAUST), events_max=10_000),
    Contestant("faust-take", (f"{_CONTESTANTS}.faust_take", *_FAUST), events_max=50_000),
    Contestant("quix", (f"{_CONTESTANTS}.quix",)),
    Contestant("bytewax", ("bytewax.run", f"{_CONTESTANTS}.bytewax_flow:flow")),
    Contestant("faststream-aiokafka", (f"{_CONTESTANTS}.faststream_app",)),
    Contestant(
        "faststream-confluent",
        (f"{_CONTESTANTS}.faststream_app",),
        env={"PEER_CLIENT": "confluent"},
    ),
    Contestant("plain-aiokafka", (f"{_CONTESTANTS}.plain_aiokafka",), framework=False),
    Contestant("plain-confluent", (f"{_CONTESTANTS}.plain_confluent",), framework=False),
)


@dataclass
class Program:
    """A contestant's process, as the kernel and `compose.local` know it."""

    contestant: Contestant
    env: dict[str, str]
    #: Where it tells that its first events are in hand.
    mark: Path
    name: str = ""
    url: str = ""
    stop_signal: signal.Signals = signal.SIGTERM

    def __post_init__(self) -> None:
        self.name = self.mark.stem

    def prepare(self) -> None:
        self.mark.unlink(missing_ok=True)

    def command(self) -> Command:
        env = {**self.env, **self.contestant.env, "PEER_MARK": str(self.mark)}
        env["PYTHONPATH"] = str(ROOT)
        if self.contestant.name == OURS:
            ours = ("-m", "tests.benchmarks.peer.ours", "worker", "--only", "peer")
            return Command((sys.executable, *ours), env)
        return Command((str(PYTHON), "-m", *self.contestant.module), env)

    def ready(self, pid: int) -> bool:
        """Once it has events in hand."""
        return self.mark.exists()


def environment(kafka: str, postgres: str, group: str, folder: Path) -> dict[str, str]:
    """The task of a contestant that is not ours."""
    return {
        "PEER_KAFKA": kafka,
        "PEER_POSTGRES": postgres,
        "PEER_TOPIC": TOPIC,
        "PEER_PARTITIONS": str(PARTITIONS),
        "PEER_GROUP": group,
        "PEER_FOLDER": str(folder),
    }

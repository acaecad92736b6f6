"""One running system with a simulated history, for all tests that only read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as Flag

import pytest

from streams.producer import ProducerSettings, SyncProducer
from streams.simulate.config import Config
from streams.simulate.run import send_history
from streams.simulate.world import World
from tests.e2e.system import System, whole_system

pytest.register_assert_rewrite("tests.e2e.as_logged")


@pytest.fixture(scope="session")
def system_folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="streams-e2e-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def simulated(system_folder: Path) -> Iterator[System]:
    """Forty people and two months, folded to the end."""
    with whole_system(system_folder / "simulated") as system:
        send_simulation(system, people=40, months=2)
        system.rest()
        yield system


def send_simulation(system: System, *, people: int, months: int, seed: str = "1") -> int:
    """Send a history that ends now; returns how many events it has."""
    world = World(Config(people=people, months=months, until=datetime.now(UTC), seed=seed))
    with SyncProducer(ProducerSettings(system.stack.kafka)) as producer:
        return send_history(producer, world, lambda *_: None, Flag())

"""Fixtures of tests that call a whole system over HTTP."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.system import System, whole_system
from tests.gateway_person import Person


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    folder = Path(tempfile.mkdtemp(prefix="streams-gateway-"))
    try:
        with whole_system(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def person(system: System) -> Iterator[Person]:
    made = Person(system)
    with made.client:
        yield made


@pytest.fixture
def producer(system: System) -> Iterator[Person]:
    made = Person(system, "producer")
    with made.client:
        yield made

"""SIGKILL in the middle of fifty thousand events: afterwards every table is what the log says."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from schemas.codec import RawRecord
from schemas.topics import TOPICS
from tests.e2e import as_logged
from tests.e2e.conftest import send_simulation
from tests.e2e.system import System, await_true, event_of, whole_system
from tests.recomputed import Refolded

#: Sending and folding the history is the fixture's, and a slow machine takes minutes for it.
pytestmark = pytest.mark.timeout(900)

KILLS = 3
EVENTS_MIN = 50_000


@pytest.fixture(scope="module")
def survived(system_folder: Path) -> Any:
    """A system whose worker was killed again and again while a history was sent."""
    with whole_system(system_folder / "killed") as system:
        sent: list[int] = []

        def send() -> None:
            sent.append(send_simulation(system, people=150, months=6))

        sender = threading.Thread(target=send)
        sender.start()
        for number in range(1, KILLS + 1):
            await_true(lambda n=number: applied(system) > n * 9_000, "the worker stands still")
            system.kill_worker()
            system.start_worker()
        sender.join()
        assert sent[0] >= EVENTS_MIN
        system.rest()
        yield system


def applied(system: System) -> int:
    """Events that the analytics projection has behind it."""
    return int(system.ask("select sum(next_offset) from checkpoints")[0][0] or 0)


@pytest.fixture(scope="module")
def log(survived: System) -> list[RawRecord]:
    return survived.log_of_events()


@pytest.fixture(scope="module")
def told(log: list[RawRecord]) -> dict[str, Refolded]:
    return as_logged.refolded_all(log)


def test_every_table_of_postgres_is_what_the_log_says(
    survived: System, told: dict[str, Refolded]
) -> None:
    as_logged.assert_tables(survived, told)


def test_first_positions_are_those_of_the_log(survived: System, log: list[RawRecord]) -> None:
    as_logged.assert_first_positions(survived, log)


def test_clickhouse_has_every_event_once_without_final(
    survived: System, log: list[RawRecord]
) -> None:
    as_logged.assert_clickhouse(survived, log)


def test_money_adds_up_in_clickhouse(survived: System, log: list[RawRecord]) -> None:
    as_logged.assert_money(survived, log)


def test_derived_topics_hold_what_the_log_says(
    log: list[RawRecord], told: dict[str, Refolded]
) -> None:
    """No derived event is missing or made up.

    The broker in memory shows the records of aborted transactions, too, so that a relay killed in
    the middle of one leaves them in the topic a second time; that each is there once is shown on
    Apache Kafka (`tests/integration/test_relay.py`).
    """
    ids = {event_of(record)["id"] for record in log if TOPICS[record.topic].derived}
    expected = {made.id for again in told.values() for made in again.store.derived}
    assert ids
    assert expected == ids

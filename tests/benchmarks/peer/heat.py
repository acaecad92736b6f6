"""One contestant, once: a database of its own, the log from its beginning, then the verdict."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import asyncpg

from compose.local.service import Child
from projections.postgres.migrate import migrate
from projections.postgres.pool import open_pool
from tests.benchmarks.measure import Meter, Usage
from tests.benchmarks.peer.events import PARTITIONS, TOPIC
from tests.benchmarks.peer.programs import OURS, Contestant, Program, environment
from tests.benchmarks.peer.verify import Verifier
from tests.benchmarks.stand import Stand

#: Seconds until the first events are in hand, and between two steps of the checkpoints, at most.
START_SECONDS_MAX = 90.0
STEP_SECONDS_MAX = 90.0
#: How often the mark and the checkpoints are looked at, in seconds: the error of a time.
LOOK_SECONDS = 0.005

#: Of what a process that failed wrote.
SHOWN_LINES = 20

_POSITION = "select coalesce(sum(next_offset), 0)::bigint from peer_checkpoints"
_ZERO = """
insert into peer_checkpoints (topic, partition, next_offset)
select $1, partition, 0 from generate_series(0, $2 - 1) partition
"""
_HERE = Path(__file__).parent


class Failed(Exception):
    """A contestant ended, stood still, or never began."""


@dataclass(frozen=True)
class Heat:
    """What one contestant did in one round."""

    contestant: str
    events: int
    #: From the first events in hand to the last checkpoint.
    seconds: float
    usage: Usage
    #: What the tables have wrong; nothing, if all is exact.
    differences: list[str]

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu(self) -> dict[str, float]:
        """CPU seconds per 100,000 events, by process tree and all together."""
        each = self.usage.cpu_per_100k(self.events)
        return {**each, "all": sum(each.values())}


class Watch:
    """The checkpoints of a database, looked at from outside."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._runner = asyncio.Runner()
        self._connection: Any = None

    def __enter__(self) -> Self:
        self._connection = self._runner.run(asyncpg.connect(self._database))
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._connection.close())
        self._runner.close()

    def position(self) -> int:
        """Events that are applied, in all partitions."""
        return int(self._runner.run(self._connection.fetchval(_POSITION)))


def heat(stand: Stand, contestant: Contestant, verifier: Verifier) -> Heat:
    """Run a contestant until it has applied what it is given.

    Raises:
        Failed: it did not get so far.
    """
    wanted = min(contestant.events_max or verifier.events, verifier.events)
    with tables(stand, contestant) as database, Watch(database) as watch:
        with running(stand, contestant, database) as child:
            begin = first_events(child)
            meter = Meter({"worker": child.pid, **servers(stand)}).start()
            reached = await_position(watch, wanted, [child])
            end = time.time()
            usage = meter.stop()
        differences = asyncio.run(verifier.differences(database))
    return Heat(contestant.name, reached, end - begin, usage, differences)


def servers(stand: Stand) -> dict[str, int]:
    """Those that take part in the job."""
    pids = stand.pids()
    return {name: pids[name] for name in ("postgres", "broker")}


@contextmanager
def tables(stand: Stand, contestant: Contestant) -> Iterator[str]:
    """A database with the contestant's tables for the length of the block; its address."""
    with stand.database() as database:
        asyncio.run(_make_tables(database, ours=contestant.name == OURS))
        # What earlier contestants left to be written is not to be written during this one.
        stand.execute("checkpoint")
        yield database


async def _make_tables(database: str, *, ours: bool) -> None:
    if ours:
        async with open_pool(database, size_max=1, name="peer") as pool:
            await migrate(pool)
    connection = await asyncpg.connect(database)
    try:
        await connection.execute((_HERE / ("ours.sql" if ours else "tables.sql")).read_text())
        if not ours:
            await connection.execute(_ZERO, TOPIC, PARTITIONS)
    finally:
        await connection.close()


@contextmanager
def running(stand: Stand, contestant: Contestant, database: str) -> Iterator[Child]:
    """The contestant's process for the length of the block."""
    name = f"{contestant.name}-{uuid4().hex[:8]}"
    folder = stand.folder / name
    folder.mkdir()
    if contestant.name == OURS:
        env = {**stand.env, "STREAMS_POSTGRES": database, "STREAMS_FOLDER": str(folder)}
    else:
        env = environment(stand.stack.kafka, database, name, folder)
    child = Child(Program(contestant, env, folder / f"{name}.mark"), stand.folder / "logs")
    try:
        yield child
    finally:
        # Ours leaves its group, whose name is always the same; the others have one for each run.
        child.stop(signal.SIGTERM if contestant.name == OURS else signal.SIGKILL)


def first_events(child: Child) -> float:
    """When the contestant had its first events in hand (time of the clock).

    Raises:
        Failed: it had none in time.
    """
    deadline = time.monotonic() + START_SECONDS_MAX
    while not child.server.ready(child.pid):
        _check(child)
        if time.monotonic() > deadline:
            raise Failed(f"no events within {START_SECONDS_MAX:g} s\n{last_words(child)}")
        time.sleep(LOOK_SECONDS)
    program = child.server
    assert isinstance(program, Program)
    return float(json.loads(program.mark.read_text())["time"])


def await_position(watch: Watch, wanted: int, children: list[Child]) -> int:
    """Wait until so many events are applied; how many it were then.

    Raises:
        Failed: a process ended, or nothing was applied for too long.
    """
    last, moved_at = -1, time.monotonic()
    while (position := watch.position()) < wanted:
        for child in children:
            _check(child)
        if position != last:
            last, moved_at = position, time.monotonic()
        elif time.monotonic() - moved_at > STEP_SECONDS_MAX:
            words = "\n".join(map(last_words, children))
            raise Failed(f"stands still at {position} of {wanted}\n{words}")
        time.sleep(LOOK_SECONDS)
    return position


def _check(child: Child) -> None:
    if child.has_ended():
        raise Failed(f"{child.ending()}\n{last_words(child)}")


def last_words(child: Child) -> str:
    """What a process wrote last."""
    return "\n".join(child.written().splitlines()[-SHOWN_LINES:])


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)

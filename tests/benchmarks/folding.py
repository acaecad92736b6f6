"""Workers on a stand, and where their projections stand."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg

from compose.local.service import Child, Command
from compose.processes import Worker
from projections.analytics.appender import Analytics
from projections.catalog import row_projections
from streams.topics import log_ends
from tests.benchmarks.measure import Meter, Usage
from tests.benchmarks.stand import Stand
from tests.benchmarks.traffic import tell

LOOK_SECONDS = 0.1
TOLD_SECONDS = 2.0

#: Seconds without any progress after which a worker is given up.
STILL_SECONDS_MAX = 60.0

Place = tuple[str, int]
Positions = dict[tuple[str, str, int], int]

_CHECKPOINTS = "select projection, topic, partition, next_offset from checkpoints"
_OWED = """
select exists (select from outbox) or exists (select from timers where due <= now())
"""
_SIZE = "select pg_database_size(current_database())"
_WORK = """
select tup_inserted, tup_updated, blks_read, wal_bytes
from pg_stat_database, pg_stat_wal where datname = current_database()
"""


class StandsStill(Exception):
    """The workers do not come to the end of the log."""


class Work(NamedTuple):
    """What PostgreSQL has done: rows, pages that its shared buffers did not have, bytes of WAL."""

    rows_inserted: float
    rows_updated: float
    pages_read: float
    wal_bytes: float

    def since(self, before: Work, events: int) -> Work:
        """What it has done since then, for one of so many events."""
        return Work(*((now - then) / events for now, then in zip(self, before, strict=True)))


@dataclass
class ProfiledWorker(Worker):
    """A worker whose frames are named for their projections."""

    def command(self) -> Command:
        mark = str(self.folder / f"{self.name}.ready")
        argv = (sys.executable, "-m", "tests.benchmarks.profiled_worker", "--ready-file", mark)
        return Command((*argv, *self.arguments), dict(self.env))


def start_workers(stand: Stand, count: int = 1, kind: type[Worker] = Worker) -> list[Child]:
    """Workers with all projections; returns when each owns its partitions."""
    servers = [kind(stand.folder, stand.env, name=f"worker {n}") for n in range(1, count + 1)]
    children = [stand.launch(server) for server in servers]
    for child in children:
        child.wait_ready()
    return children


class Standing:
    """What the tables say of the projections, asked over a connection of its own."""

    def __init__(self, runner: asyncio.Runner, connection: asyncpg.Connection) -> None:
        self._runner = runner
        self._connection = connection

    def positions(self) -> Positions:
        """The next offset of each projection on each partition that it reads."""
        rows = self._runner.run(self._connection.fetch(_CHECKPOINTS))
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    def owes(self) -> bool:
        """Whether projections still owe the log records, or timers are due."""
        return bool(self._runner.run(self._connection.fetchval(_OWED)))

    def database_mib(self) -> float:
        """What the database takes on disk."""
        return int(self._runner.run(self._connection.fetchval(_SIZE))) / 2**20

    def work(self) -> Work:
        """What PostgreSQL has done so far; it knows within a second."""
        return Work(*map(float, self._runner.run(self._connection.fetchrow(_WORK))))


@contextmanager
def standing(postgres: str) -> Iterator[Standing]:
    """A `Standing` for the length of the block."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(postgres))
        try:
            yield Standing(runner, connection)
        finally:
            runner.run(connection.close())


def targets(ends: Mapping[Place, int], only: str | None = None) -> Positions:
    """Up to where each projection, or only one, has to come on the partitions that end there."""
    read = {each.name: each.topics for each in row_projections()}
    read[Analytics.name] = Analytics.topics
    return {
        (name, *place): end
        for name, topics in read.items()
        for place, end in ends.items()
        if only in (None, name) and place[0] in topics and end > 0
    }


@dataclass
class Folding:
    """Watches workers come to the end of the log."""

    standing: Standing
    kafka: str
    _moved: float = field(default_factory=time.monotonic)
    _last: object = None
    _told: float = 0.0

    def share(self, wanted: Positions) -> float:
        """How much of what is wanted is folded, 0 to 1."""
        at = self.standing.positions()
        whole = sum(wanted.values())
        return sum(min(at.get(key, 0), end) for key, end in wanted.items()) / whole

    def to_ends(self, ends: Mapping[Place, int], only: str | None = None) -> None:
        """Return once every projection, or only one, stands at these ends. Raises StandsStill."""
        wanted = targets(ends, only)
        self._begin()
        while (share := self.share(wanted)) < 1:
            self._look(share, f"{share:.1%} folded")

    def to_rest(self) -> None:
        """Return once nothing is owed to the log, and all that is in it is folded.

        Raises StandsStill.
        """
        self._begin()
        # The cheap question first: what is owed is published before all of it can be folded.
        while (owes := self.standing.owes()) or (left := self._left()):
            line = "records are owed to the log" if owes else f"{left:,} records to be folded"
            self._look(self.standing.positions(), line)

    def _left(self) -> int:
        wanted = targets(log_ends(self.kafka))
        at = self.standing.positions()
        return sum(max(end - at.get(key, 0), 0) for key, end in wanted.items())

    def _begin(self) -> None:
        self._moved, self._last = time.monotonic(), None

    def _look(self, state: object, line: str) -> None:
        now = time.monotonic()
        if state != self._last:
            self._moved, self._last = now, state
        elif now - self._moved > STILL_SECONDS_MAX:
            raise StandsStill(line)
        if now - self._told > TOLD_SECONDS:
            self._told = now
            tell(line)
        time.sleep(LOOK_SECONDS)


@dataclass(frozen=True)
class Folded:
    """What it took to fold a log."""

    #: Events of the log that were folded while it was measured.
    events: float
    #: Until every projection stood at the log's end.
    seconds: float
    #: Until nothing was owed to the log either, and what was derived was folded, too.
    rest_seconds: float
    #: Up to rest.
    usage: Usage
    #: Records that projections and timers added to the log.
    derived: int

    @property
    def rate(self) -> float:
        """Events of the log a second."""
        return self.events / self.seconds

    @property
    def rest_rate(self) -> float:
        """The same until everything was at rest."""
        return self.events / self.rest_seconds


def fold(stand: Stand, at: Standing, workers: list[Child], events: int) -> Folded:
    """Watch the workers fold a log of so many events, from now on.

    What they folded before this was called is left out of the figures.
    """
    ends = log_ends(stand.stack.kafka)
    watched = Folding(at, stand.stack.kafka)
    trees = {f"worker {number}": child.pid for number, child in enumerate(workers, start=1)}
    meter = Meter({**trees, **stand.pids()}).start()
    begin = time.monotonic()
    rest = events * (1 - watched.share(targets(ends)))
    watched.to_ends(ends)
    seconds = time.monotonic() - begin
    watched.to_rest()
    rest_seconds = time.monotonic() - begin
    usage = meter.stop()
    derived = sum(log_ends(stand.stack.kafka).values()) - sum(ends.values())
    return Folded(rest, seconds, rest_seconds, usage, derived)

"""What Prometheus is told of a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from projections.analytics.append import Flush
from projections.analytics.gather import ANALYTICS, Gathered
from projections.batch import Batch, DeadLetter
from projections.health import Health
from projections.intake import Fetched, Intake
from projections.postgres.flushes import PostgresFlushLog
from projections.postgres.store import PostgresStore
from projections.projector import Fate, Outcome
from projections.store import Commit
from schemas.fast import Record
from streams.watchdog import Watchdog

#: From a row by itself to a transaction that is given up.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

#: From a record that is read at once to one that waited for a worker to come back.
_AGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0, 86400.0)


class Metrics:
    """The counters of one worker; nothing is global, so that two can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._events = Counter(
            "worker_events",
            "Events of the log, by what became of them",
            ("projection", "fate"),
            registry=self.registry,
        )
        self._dead_letters = Counter(
            "worker_dead_letters",
            "Events refused; projection * is for those that nobody can read",
            ("projection",),
            registry=self.registry,
        )
        self._commits = Histogram(
            "worker_commit_seconds",
            "Seconds of the commits that succeeded",
            ("projection",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._ages = Histogram(
            "worker_record_age_seconds",
            "Seconds from a record's timestamp until it is fetched, read, and applied by a"
            " projection in PostgreSQL; of each batch's last record",
            ("stage", "projection"),
            buckets=_AGES,
            registry=self.registry,
        )
        self._flushes = Histogram(
            "worker_flush_seconds",
            "Seconds from the record of a flush to its end",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._flushed = Counter(
            "worker_flush_rows", "Rows flushed", ("table",), registry=self.registry
        )

    def applied(self, projection: str, batches: Sequence[Batch], outcome: Outcome) -> None:
        """A lane committed."""
        self.aged("applied", [batch.records for batch in batches], projection)
        for fate, count in outcome.fates.items():
            self._events.labels(projection, fate.value).inc(count)
        self.refused(projection, outcome.dead_letters)

    def gathered(self, batch: Batch, gathered: Gathered) -> None:
        """The appender made rows of a batch."""
        refused = len(gathered.letters)
        repeated = len(batch.duplicates) - len(gathered.let_in)
        for fate, count in (
            (Fate.DEAD_LETTER, refused),
            (Fate.DUPLICATE, repeated),
            (Fate.APPLIED, max(0, len(batch.events) - refused - repeated)),
        ):
            self._events.labels(ANALYTICS, fate.value).inc(count)
        self.refused(ANALYTICS, gathered.letters)

    def refused(self, projection: str, letters: Sequence[DeadLetter]) -> None:
        """Events became dead letters."""
        if letters:
            self._dead_letters.labels(projection).inc(len(letters))

    def unreadable(self, count: int) -> None:
        """Records that no projection can read."""
        if count:
            self._dead_letters.labels("*").inc(count)

    def aged(self, stage: str, parts: Iterable[Sequence[Record]], projection: str = "*") -> None:
        """Records of some batches came to this stage."""
        now, ages = time.time(), self._ages.labels(stage, projection)
        for records in parts:
            if records:
                # The clocks of producers may be ahead of ours.
                ages.observe(max(0.0, now - records[-1].timestamp / 1e3))

    def committed(self, projection: str, seconds: float) -> None:
        """A commit succeeded."""
        self._commits.labels(projection).observe(seconds)

    def flushed(self, flush: Flush, seconds: float | None) -> None:
        """A flush was marked done; how long it took is unknown if somebody else began it."""
        if seconds is not None:
            self._flushes.observe(seconds)
        for table, rows in flush.rows.items():
            self._flushed.labels(table).inc(rows)

    def watch(self, health: Health, watchdog: Watchdog) -> None:
        """Measure these whenever asked."""
        self.registry.register(_StateCollector(health, watchdog))


class _StateCollector(Collector):
    def __init__(self, health: Health, watchdog: Watchdog) -> None:
        self._health = health
        self._watchdog = watchdog

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        health, watchdog = self._health, self._watchdog
        yield GaugeMetricFamily(
            "worker_partitions", "Partitions owned", value=health.partitions or 0
        )
        yield CounterMetricFamily(
            "worker_rebalances", "Assignments of partitions", value=health.assignments
        )
        yield CounterMetricFamily(
            "worker_stalls", "Partitions that stood still", value=watchdog.stalls
        )
        yield CounterMetricFamily(
            "worker_heals", "New beginnings because of them", value=watchdog.heals
        )
        retries = CounterMetricFamily(
            "worker_retries", "Attempts that failed because something was away", labels=("part",)
        )
        for part, count in sorted(health.retries.items()):
            retries.add_metric([part], count)
        yield retries
        away = GaugeMetricFamily("worker_waits", "1 for a part that waits", labels=("part",))
        for trouble in health.troubles:
            away.add_metric([trouble.part], 1)
        yield away
        yield self._lag()

    def _lag(self) -> Metric:
        family = GaugeMetricFamily(
            "worker_lag_offsets",
            "How far the checkpoint is behind the end of the log, at the last look",
            labels=("projection", "topic", "partition"),
        )
        for each in self._watchdog.standings:
            labels = [each.name, each.place.topic, str(each.place.partition)]
            family.add_metric(labels, max(0, each.end - each.reached))
        return family


class MeasuredStore(PostgresStore):
    """Counts commits and their seconds."""

    def __init__(self, pool: Any, metrics: Metrics, clock: Callable[[], float] = time.monotonic):
        super().__init__(pool)
        self._metrics = metrics
        self._clock = clock

    async def commit(self, commit: Commit) -> None:
        began = self._clock()
        await super().commit(commit)
        self._metrics.committed(commit.projection, self._clock() - began)


class MeasuredFlushLog(PostgresFlushLog):
    """Counts flushes and their seconds."""

    def __init__(self, pool: Any, metrics: Metrics, clock: Callable[[], float] = time.monotonic):
        super().__init__(pool)
        self._metrics = metrics
        self._clock = clock
        self._began: dict[UUID, float] = {}

    async def open(self, flush: Flush) -> None:
        # A flush that is lost to another worker is not closed; there is one at a time.
        self._began = {flush.id: self._began.get(flush.id, self._clock())}
        await super().open(flush)

    async def close(
        self, flush: Flush, letters: Sequence[DeadLetter], resolved: Sequence[UUID]
    ) -> None:
        await super().close(flush, letters, resolved)
        began = self._began.pop(flush.id, None)
        self._metrics.flushed(flush, None if began is None else self._clock() - began)


class MeasuredIntake(Intake):
    """Counts what nobody can read, and tells how old records are before and after."""

    def __init__(self, metrics: Metrics, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._metrics = metrics

    async def read(self, fetched: Sequence[Fetched]) -> list[Batch]:
        self._metrics.aged("fetched", [part.records for part in fetched])
        batches = await super().read(fetched)
        self._metrics.aged("read", [part.records for part in fetched])
        self._metrics.unreadable(sum(len(each.records) - len(each.events) for each in batches))
        return batches

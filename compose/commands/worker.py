"""`streams worker`: the composition root of a worker process."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compose.commands.log import accept_log_of
from compose.errors import CommandError
from compose.exit_codes import ExitCode
from compose.running import run_until_signalled, set_up_logging
from compose.settings import Settings, SettingsWrong, read_settings

if TYPE_CHECKING:
    from projections.analytics.gather import Gathered
    from projections.batch import Batch, DeadLetter
    from projections.health import Health
    from projections.intake import Intake
    from projections.projector import Outcome
    from streams.crew import Appender, Crew, Waiting
    from streams.metrics import Metrics

logger = logging.getLogger(__name__)

ANALYTICS = "analytics"


def worker(
    only: Annotated[
        str | None, typer.Option(help="Run these projections alone: names separated by commas.")
    ] = None,
    with_relay: Annotated[
        bool, typer.Option("--relay/--no-relay", help="Also publish what projections derive.")
    ] = True,
    ready_file: Annotated[
        Path | None, typer.Option(help="Made once the worker owns partitions.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Where /health, /ready and /metrics are; 0 takes any free port."),
    ] = None,
    accept_new_log: Annotated[
        bool,
        typer.Option(
            "--accept-new-log",
            help="First take the log as it is, though it is another one or was cut: as"
            " `streams log accept` does. For one start, not for good.",
        ),
    ] = False,
) -> None:
    """Fold events into the read models, until SIGTERM.

    Several workers share the partitions; each may run all projections or some.
    """
    set_up_logging()
    given = {} if port is None else {"STREAMS_WORKER_PORT": str(port)}
    settings = read_settings({**os.environ, **given})
    names = _chosen(only)

    if accept_new_log and (accepted := accept_log_of(settings)):
        for line in accepted.lines:
            logger.warning("accepted: %s", line)

    async def main(stop: asyncio.Event) -> None:
        with _named_for_operators():
            await run_worker(settings, names, stop, with_relay=with_relay, ready_file=ready_file)

    run_until_signalled(main)


@contextmanager
def _named_for_operators() -> Iterator[None]:
    """What ends a worker, with the status that says whether to start it again."""
    from projections.log_identity import LogMismatch
    from projections.projector import Hole
    from projections.store import Broken, OtherVersion, Unavailable
    from streams.status import CannotListen
    from streams.topics import BrokerSilent, TopicsMissing
    from streams.watchdog import Unhealed

    try:
        yield
    except LogMismatch as error:
        raise CommandError(str(error), ExitCode.OTHER_LOG) from None
    except OtherVersion as error:
        raise CommandError(str(error), ExitCode.OTHER_VERSION) from None
    except Unhealed as error:
        raise CommandError(str(error), ExitCode.STALLED) from None
    except CannotListen as error:
        raise CommandError(str(error), ExitCode.SETTINGS) from None
    except (Broken, BrokerSilent, Hole, TopicsMissing, Unavailable) as error:
        raise CommandError(str(error)) from None


def _chosen(only: str | None) -> list[str]:
    from projections.catalog import row_projections

    known = [*(projection.name for projection in row_projections()), ANALYTICS]
    names = known if only is None else [name.strip() for name in only.split(",")]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SettingsWrong(f"--only: {', '.join(unknown)}: known are {', '.join(known)}")
    return names


async def run_worker(
    settings: Settings,
    names: Sequence[str],
    stop: asyncio.Event,
    *,
    with_relay: bool = True,
    ready_file: Path | None = None,
) -> None:
    """Build the parts in the order in which data flows, and fold until ``stop`` is set."""
    from projections.health import PROGRESS, Health
    from projections.postgres.identity import PostgresIdentities
    from projections.postgres.pool import open_pool
    from projections.postgres.progress import checkpoints, following
    from streams.crew import cancelled
    from streams.ends import readable_ends
    from streams.identity import SameLog
    from streams.metrics import Metrics
    from streams.topics import partition_counts
    from streams.watchdog import Watch, Watchdog
    from streams.worker import tend

    async with AsyncExitStack() as parts:
        health, metrics = Health(), Metrics()
        pool = await parts.enter_async_context(open_pool(settings.postgres, name="streams worker"))
        watchdog = Watchdog(
            Watch(settings.stall_seconds),
            partial(readable_ends, settings.kafka),
            partial(checkpoints, pool),
            health,
        )
        metrics.watch(health, watchdog)
        await parts.enter_async_context(_status(settings, health, metrics))
        # Before the topics are looked for: that one is gone may mean that the log is another one.
        same_log = SameLog(settings.kafka, PostgresIdentities(pool))
        await same_log.begin()
        counts = await partition_counts(settings.kafka)
        progress = await parts.enter_async_context(
            following(settings.postgres, health.of(PROGRESS))
        )
        crew_of = await parts.enter_async_context(
            _crews(settings, names, pool, counts, health, metrics)
        )
        crews: list[Crew] = []

        def new_crew() -> Crew:
            crew = crew_of(progress)
            crew.health = health
            crew.same_log = same_log
            crews[:] = [crew]
            return crew

        running = [
            _mark_ready(health, ready_file),
            same_log.watch(lambda error: crews[0].fail(error)),
            *([_relay(settings, health, crews)] if with_relay else []),
        ]
        tasks = [asyncio.create_task(each) for each in running]
        try:
            await tend(new_crew, settings.folder / "faust", stop, watchdog)
        finally:
            await cancelled(tasks)


@asynccontextmanager
async def _status(settings: Settings, health: Health, metrics: Metrics) -> AsyncIterator[None]:
    """What the worker says of itself over HTTP, if a port is set."""
    from streams.status import serving

    if settings.worker_port is None:
        yield
        return
    async with serving(health, metrics, settings.worker_host, settings.worker_port) as url:
        typer.echo(f"status at {url}", err=True)
        yield


@asynccontextmanager
async def _crews(
    settings: Settings,
    names: Sequence[str],
    pool: Any,
    counts: Mapping[str, int],
    health: Health,
    metrics: Metrics,
) -> AsyncIterator[Callable[[Waiting], Crew]]:
    """The way to make a crew, again and again, of parts that last."""
    from projections.catalog import row_projections
    from projections.health import INDEX
    from projections.postgres.index import PostgresIndex
    from projections.projection import columnar_topics
    from schemas.topics import TOPICS
    from streams.crew import Crew
    from streams.metrics import MeasuredIntake, MeasuredStore

    def report(name: str) -> Callable[[Sequence[Batch], Outcome], None]:
        def applied(batches: Sequence[Batch], outcome: Outcome) -> None:
            metrics.applied(name, batches, outcome)
            _say_refused(name, outcome.dead_letters)

        return applied

    index = await PostgresIndex.open(pool, list(TOPICS))
    projections = [each for each in row_projections() if each.name in names]
    intake = MeasuredIntake(
        metrics,
        index,
        counts,
        settings.tenant,
        report=health.of(INDEX),
        columnar=columnar_topics(projections),
    )
    store = MeasuredStore(pool, metrics)
    async with AsyncExitStack() as parts:
        appenders: list[Appender] = []
        if ANALYTICS in names:
            analytics = _analytics(settings, pool, intake, health, metrics)
            appenders.append(await parts.enter_async_context(analytics))
        yield lambda progress: Crew(
            projections, appenders, store, intake, progress, report, settings.kafka
        )


@asynccontextmanager
async def _analytics(
    settings: Settings, pool: Any, intake: Intake, health: Health, metrics: Metrics
) -> AsyncIterator[Appender]:
    from projections.analytics.appender import Analytics
    from projections.clickhouse.client import open_client
    from projections.clickhouse.store import ClickHouseStore
    from streams.metrics import MeasuredFlushLog
    from streams.reread import Rereader

    def gathered(batch: Batch, found: Gathered) -> None:
        metrics.gathered(batch, found)
        _say_refused(ANALYTICS, found.letters)

    async with open_client(settings.clickhouse, name="streams worker") as client:
        yield Analytics(
            ClickHouseStore(client),
            MeasuredFlushLog(pool, metrics),
            Rereader(settings.kafka, intake),
            gathered,
            report=health.of(ANALYTICS),
        )


async def _relay(settings: Settings, health: Health, crews: Sequence[Crew]) -> None:
    """Publish until cancelled; what no waiting helps against ends the worker."""
    from projections.health import RELAY
    from projections.postgres.outbox import leading
    from streams.relay import relay
    from streams.relay_log import kafka_log

    try:
        await relay(
            lambda: leading(settings.postgres),
            lambda: kafka_log(settings.kafka),
            report=health.of(RELAY),
        )
    except Exception as error:  # noqa: BLE001 - the crew's end is the worker's, with this error
        crews[0].fail(error)


def _say_refused(name: str, letters: Sequence[DeadLetter]) -> None:
    for letter in letters:
        logger.warning("%s refused %s: %s", name, letter.position, letter.reason)


async def _mark_ready(health: Health, ready_file: Path | None) -> None:
    await health.owning.wait()
    logger.info("ready")
    if ready_file is not None:
        await asyncio.to_thread(ready_file.touch)

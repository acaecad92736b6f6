"""`streams worker`: the composition root of a worker process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compose.errors import CommandError
from compose.exit_codes import ExitCode
from compose.running import run_until_signalled, set_up_logging
from compose.settings import Settings, SettingsWrong, read_settings

if TYPE_CHECKING:
    from projections.batch import DeadLetter
    from projections.intake import Intake
    from streams.crew import Appender

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
) -> None:
    """Fold events into the read models, until SIGTERM.

    Several workers share the partitions; each may run all projections or some.
    """
    set_up_logging()
    settings = read_settings()
    names = _chosen(only)

    async def main(stop: asyncio.Event) -> None:
        await run_worker(settings, names, stop, with_relay=with_relay, ready_file=ready_file)

    from projections.log_identity import LogMismatch
    from projections.postgres.pool import NotMigrated
    from projections.projector import Hole
    from projections.store import Unavailable
    from streams.topics import BrokerSilent, TopicsMissing

    try:
        run_until_signalled(main)
    except LogMismatch as error:
        raise CommandError(str(error), ExitCode.OTHER_LOG) from None
    except (BrokerSilent, Hole, NotMigrated, TopicsMissing, Unavailable) as error:
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
    from projections.catalog import row_projections
    from projections.intake import Intake
    from projections.postgres.identity import PostgresIdentities
    from projections.postgres.outbox import leading
    from projections.postgres.pool import open_pool
    from projections.postgres.progress import following
    from projections.postgres.store import PostgresIndex, PostgresStore
    from schemas.topics import TOPICS
    from streams.crew import Crew
    from streams.identity import SameLog
    from streams.relay import relay
    from streams.relay_log import kafka_log
    from streams.topics import partition_counts
    from streams.worker import work

    async with AsyncExitStack() as parts:
        pool = await parts.enter_async_context(open_pool(settings.postgres, name="streams worker"))
        # Before the topics are looked for: that one is gone may mean that the log is another one.
        same_log = SameLog(settings.kafka, PostgresIdentities(pool))
        await same_log.begin()
        counts = await partition_counts(settings.kafka)
        progress = await parts.enter_async_context(following(settings.postgres))
        index = await PostgresIndex.open(pool, list(TOPICS))
        intake = Intake(index, counts, settings.tenant)
        appenders = []
        if ANALYTICS in names:
            appenders.append(await parts.enter_async_context(_analytics(settings, pool, intake)))
        crew = Crew(
            [projection for projection in row_projections() if projection.name in names],
            appenders,
            PostgresStore(pool),
            intake,
            progress,
            _report,
            settings.kafka,
        )
        crew.same_log = same_log
        tasks = [
            asyncio.create_task(_mark_ready(crew, ready_file), name="ready"),
            asyncio.create_task(same_log.watch(crew.fail), name="same log"),
        ]
        if with_relay:
            publishing = relay(
                lambda: leading(settings.postgres), lambda: kafka_log(settings.kafka)
            )
            tasks.append(asyncio.create_task(publishing, name="relay"))
        try:
            await work(crew, settings.folder / "faust", stop)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _analytics(settings: Settings, pool: Any, intake: Intake) -> AsyncIterator[Appender]:
    from projections.analytics.appender import Analytics
    from projections.clickhouse.client import open_client
    from projections.clickhouse.store import ClickHouseStore
    from projections.postgres.flushes import PostgresFlushLog
    from streams.reread import Rereader

    async with open_client(settings.clickhouse, name="streams worker") as client:
        reread = Rereader(settings.kafka, intake)
        yield Analytics(ClickHouseStore(client), PostgresFlushLog(pool), reread, _report_gathered)


def _report_gathered(_batch: Any, gathered: Any) -> None:
    _say_refused(ANALYTICS, gathered.letters)


def _report(name: str) -> Callable[[Any, Any], None]:
    def applied(_batches: Any, outcome: Any) -> None:
        _say_refused(name, outcome.dead_letters)

    return applied


def _say_refused(name: str, letters: Sequence[DeadLetter]) -> None:
    for letter in letters:
        logger.warning("%s refused %s: %s", name, letter.position, letter.reason)


async def _mark_ready(crew: Any, ready_file: Path | None) -> None:
    await crew.owning.wait()
    logger.info("ready")
    if ready_file is not None:
        await asyncio.to_thread(ready_file.touch)

"""`streams rebuild`: the composition root of a rebuild."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from uuid import UUID

import typer

from compose.errors import CommandError
from compose.exit_codes import ExitCode
from compose.rebuild_progress import shown
from compose.running import set_up_logging
from compose.settings import Settings, SettingsWrong, read_settings

if TYPE_CHECKING:
    from projections.batch import Partition
    from projections.intake import Intake
    from projections.projection import Projection
    from projections.rebuild import Tell

logger = logging.getLogger(__name__)

ANALYTICS = "analytics"


def rebuild(
    name: Annotated[str, typer.Argument(help="The projection; `streams projections` lists them.")],
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, even if one was interrupted.")
    ] = False,
    from_cut_log: Annotated[
        bool,
        typer.Option("--from-cut-log", help="Of what is left of a log that lost its beginning."),
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Only drop what the last rebuild replaced.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Progress as JSON lines, also on a terminal.")
    ] = False,
) -> None:
    """Make a read model anew from the log, while the old one serves; then swap them.

    Interrupted, even by kill -9, it goes on where it was when it is called again.
    """
    set_up_logging()
    settings = read_settings()
    _check(name)

    from projections.log_identity import LogMismatch
    from projections.postgres.pool import NotMigrated
    from projections.rebuild import RebuildLost, RebuildRuns
    from projections.store import Broken, Unavailable
    from streams.topics import BrokerSilent, TopicsMissing

    try:
        if drop_old:
            dropped = asyncio.run(drop_replaced(settings, name))
            typer.echo(f"dropped the old tables of {name}" if dropped else "nothing to drop")
            return
        with shown(name, as_json) as tell:
            how = How(restart, from_cut_log)
            asyncio.run(run_rebuild(settings, name, tell, how))
    except LogMismatch as error:
        raise CommandError(str(error), ExitCode.OTHER_LOG) from None
    except (
        Broken,
        BrokerSilent,
        NotMigrated,
        RebuildLost,
        RebuildRuns,
        TopicsMissing,
        Unavailable,
    ) as error:
        raise CommandError(str(error)) from None


def _check(name: str) -> None:
    from projections.catalog import row_projections

    known = [*(projection.name for projection in row_projections()), ANALYTICS]
    if name not in known:
        raise SettingsWrong(f"there is no projection {name}; known are {', '.join(known)}")


class How(NamedTuple):
    """Options: begin anew; be content with a log that was cut."""

    restart: bool = False
    cut: bool = False


async def run_rebuild(settings: Settings, name: str, tell: Tell, how: How | None = None) -> None:
    """Rebuild until the new tables serve; databases that go away meanwhile are waited for.

    Raises:
        RebuildRuns: another rebuild of this projection is under way.
        RebuildLost: it can't go on.
        Unavailable: broker or database did not answer at the start.
    """
    from projections.backoff import wait_seconds
    from projections.store import Unavailable

    how = how or How()
    chance = random.Random()
    attempt = 0
    while True:
        began = False

        def told(standing: Any) -> None:
            nonlocal began
            began = True
            tell(standing)

        try:
            await _once(settings, name, told, how._replace(restart=how.restart and not attempt))
            return
        except Unavailable as error:
            if not began and not attempt:
                raise
            attempt = 1 if began else attempt + 1
            wait = wait_seconds(attempt, chance)
            logger.warning("the rebuild was interrupted: %s; again in %.1f s", error, wait)
            await asyncio.sleep(wait)


async def _once(settings: Settings, name: str, tell: Tell, how: How) -> None:
    from projections.catalog import row_projections
    from projections.intake import Intake
    from projections.postgres.identity import PostgresIdentities
    from projections.postgres.index import PostgresIndex
    from projections.postgres.pool import open_pool
    from schemas.topics import TOPICS
    from streams.identity import SameLog
    from streams.topics import partition_counts

    async with AsyncExitStack() as parts:
        pool = await parts.enter_async_context(
            open_pool(settings.postgres, size_max=2, name="streams rebuild")
        )
        await SameLog(settings.kafka, PostgresIdentities(pool)).begin()
        counts = await partition_counts(settings.kafka)
        index = await PostgresIndex.open(pool, list(TOPICS), present_log=True)
        intake = Intake(index, counts, settings.tenant)
        for projection in row_projections():
            if projection.name == name:
                places = places_of(projection.topics, counts)
                await rebuild_rows(settings, projection, places, intake, tell, how)
        if name == ANALYTICS:
            await rebuild_analytics(settings, counts, intake, tell, how)


async def rebuild_rows(
    settings: Settings,
    projection: Projection,
    places: Sequence[Partition],
    intake: Intake,
    tell: Tell,
    how: How,
) -> None:
    """Rebuild a projection of rows in PostgreSQL, until its new tables serve."""
    from projections.postgres.pool import open_pool
    from projections.postgres.rebuild import (
        NextStore,
        PostgresBeside,
        leading_rebuild,
        search_path_of,
    )
    from projections.rebuild import Lanes, rebuild
    from streams.replay import reading_for

    async with AsyncExitStack() as parts:
        lead = await parts.enter_async_context(leading_rebuild(settings.postgres))
        beside = PostgresBeside(lead, projection, how.restart)
        goes_on = await beside.begin()
        logger.info("%s %s", "going on with" if goes_on else "rebuilding", projection.name)
        pool = await parts.enter_async_context(
            open_pool(
                settings.postgres,
                name="streams rebuild",
                search_path=search_path_of(projection.name),
            )
        )
        lanes = await parts.enter_async_context(Lanes(projection, NextStore(pool), places))
        log = await parts.enter_async_context(
            reading_for(settings.kafka, places, intake, lanes, how.cut)
        )
        await rebuild(beside, log, tell)


async def rebuild_analytics(
    settings: Settings, counts: Mapping[str, int], intake: Intake, tell: Tell, how: How
) -> None:
    """Rebuild the append projection in ClickHouse, until its new tables serve."""
    from projections.analytics.appender import Analytics
    from projections.analytics.rebuild import Appending
    from projections.analytics.repair import repair
    from projections.analytics.sending import Sending
    from projections.analytics.tables import TABLES
    from projections.clickhouse.client import open_client
    from projections.clickhouse.rebuild import AnalyticsBeside, Databases
    from projections.clickhouse.store import ClickHouseStore
    from projections.postgres.flushes import NextFlushLog, PostgresFlushLog
    from projections.postgres.pool import open_pool
    from projections.postgres.rebuild import Rebuilding, leading_rebuild, search_path_of
    from projections.rebuild import rebuild
    from streams.replay import reading_for
    from streams.reread import Rereader

    places = places_of(Analytics.topics, counts)
    reread = Rereader(settings.kafka, intake)
    async with AsyncExitStack() as parts:
        lead = await parts.enter_async_context(leading_rebuild(settings.postgres))
        pool = await parts.enter_async_context(open_pool(settings.postgres, size_max=2))
        client = await parts.enter_async_context(open_client(settings.clickhouse))
        store = ClickHouseStore(client)

        async def mend(flush: UUID) -> None:
            await repair(flush, PostgresFlushLog(pool), store, Sending(store), reread)

        databases = await Databases.of(client, settings.clickhouse, TABLES)
        rebuilding = Rebuilding(lead, ANALYTICS, Analytics.version, Analytics.topics)
        beside = AnalyticsBeside(lead, rebuilding, databases, pool, mend)
        goes_on = await beside.begin(how.restart)
        logger.info("%s %s", "going on with" if goes_on else "rebuilding", ANALYTICS)
        if await beside.finish():
            return
        next_pool = await parts.enter_async_context(
            open_pool(settings.postgres, size_max=4, search_path=search_path_of(ANALYTICS))
        )
        into = await parts.enter_async_context(
            open_client(settings.clickhouse, name="streams rebuild", database=databases.next)
        )
        analytics = Analytics(ClickHouseStore(into), NextFlushLog(next_pool), reread)
        appending = await parts.enter_async_context(Appending(analytics, places))
        log = await parts.enter_async_context(
            reading_for(settings.kafka, places, intake, appending, how.cut)
        )
        await rebuild(beside, log, tell)


def places_of(topics: Sequence[str], counts: Mapping[str, int]) -> list[Partition]:
    """All partitions of these topics, of which each has so many."""
    from projections.batch import Partition

    return [Partition(topic, number) for topic in topics for number in range(counts[topic])]


async def drop_replaced(settings: Settings, name: str) -> bool:
    """Drop the tables that the last rebuild replaced; False if there are none."""
    from projections.analytics.tables import TABLES
    from projections.clickhouse.client import open_client
    from projections.clickhouse.rebuild import Databases
    from projections.postgres.pool import open_pool
    from projections.postgres.rebuild import drop_old

    if name == ANALYTICS:
        async with open_client(settings.clickhouse, name="streams rebuild") as client:
            databases = await Databases.of(client, settings.clickhouse, TABLES)
            return await databases.drop_old()
    async with open_pool(settings.postgres, size_max=1, name="streams rebuild") as pool:
        return await drop_old(pool, name)

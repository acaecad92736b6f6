"""`streams relay`: the composition root of a relay process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compose.errors import CommandError
from compose.exit_codes import ExitCode
from compose.running import run_until_signalled, set_up_logging
from compose.settings import Settings, read_settings

if TYPE_CHECKING:
    from streams.identity import SameLog
    from streams.relay import DerivedLog

logger = logging.getLogger(__name__)


def relay(
    ready_file: Annotated[
        Path | None, typer.Option(help="Made once the relay leads or stands by.")
    ] = None,
) -> None:
    """Publish what projections owe the log, until SIGTERM.

    A worker does so too, unless it is started with `--no-relay`. However many there are, one
    leads and the others stand by.
    """
    set_up_logging()
    settings = read_settings()

    async def main(stop: asyncio.Event) -> None:
        await run_relay(settings, stop, ready_file=ready_file)

    from projections.log_identity import LogMismatch
    from projections.postgres.pool import NotMigrated
    from projections.store import Broken, Unavailable
    from streams.topics import BrokerSilent, TopicsMissing

    try:
        run_until_signalled(main)
    except LogMismatch as error:
        raise CommandError(str(error), ExitCode.OTHER_LOG) from None
    except (Broken, BrokerSilent, NotMigrated, TopicsMissing, Unavailable) as error:
        raise CommandError(str(error)) from None


async def run_relay(
    settings: Settings, stop: asyncio.Event, *, ready_file: Path | None = None
) -> None:
    """Publish until ``stop`` is set; the round in hand is finished."""
    import streams.relay
    from projections.postgres.identity import PostgresIdentities
    from projections.postgres.outbox import leading
    from projections.postgres.pool import open_pool
    from streams.identity import SameLog
    from streams.topics import partition_counts

    def stands_by() -> None:
        if ready_file is not None:
            ready_file.touch()

    # A topic that is not there would be made by the broker, with settings of its own.
    await partition_counts(settings.kafka)
    async with open_pool(settings.postgres, size_max=1, name="streams relay") as pool:
        same = SameLog(settings.kafka, PostgresIdentities(pool))
        publishing = asyncio.create_task(
            streams.relay.relay(
                lambda: leading(settings.postgres, stands_by),
                lambda: _same_log(settings.kafka, same),
            )
        )
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([publishing, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in (publishing, stopping):
            task.cancel()
        try:
            await publishing
        except asyncio.CancelledError:
            logger.info("the relay ends")


@asynccontextmanager
async def _same_log(kafka: str, same: SameLog) -> AsyncIterator[DerivedLog]:
    from streams.relay_log import kafka_log

    await same.begin()
    async with kafka_log(kafka) as log:
        yield log

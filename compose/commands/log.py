"""`streams log`: which log the read models are of, and taking another one for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from compose.errors import CommandError
from compose.settings import Settings, read_settings

if TYPE_CHECKING:
    from projections.log_identity import Acceptance

app = typer.Typer(help="The log that the read models are of.", no_args_is_help=True)


@app.command()
def accept() -> None:
    """Take the log as it is, though it is another one or was cut; workers should be stopped.

    Topics that are other ones are read from their beginning. What the read models have is kept,
    and events that they know take no effect again. What was lost is named.
    """
    accepted = accept_log_of(read_settings())
    if accepted is None:
        typer.echo("the log is the one that the checkpoints are of; nothing to accept")
        return
    for line in accepted.lines:
        typer.echo(line)
    typer.echo("accepted; start the workers")


def accept_log_of(settings: Settings) -> Acceptance | None:
    """Accept the log of these settings; None if nothing is wrong with it.

    Raises:
        CommandError: it can't be accepted now; nothing has changed.
    """
    from projections.log_identity import NothingToAccept
    from projections.postgres.pool import NotMigrated
    from projections.store import Broken, Unavailable
    from streams.topics import BrokerSilent, TopicsMissing

    try:
        return asyncio.run(_accept(settings))
    except NothingToAccept:
        return None
    except (Broken, BrokerSilent, NotMigrated, TopicsMissing, Unavailable) as error:
        raise CommandError(str(error)) from None


async def _accept(settings: Settings) -> Acceptance:
    from functools import partial

    from projections.clickhouse.accepting import retire
    from projections.clickhouse.client import open_client
    from projections.postgres.accepting import holding
    from projections.postgres.identity import PostgresIdentities
    from projections.postgres.pool import open_pool
    from streams.accepting import accept_log

    async with (
        open_pool(settings.postgres, size_max=2, name="streams log") as pool,
        open_client(settings.clickhouse, name="streams log") as client,
        holding(pool) as held,
    ):
        identities = PostgresIdentities(pool)
        return await accept_log(settings.kafka, identities, held, partial(retire, client))

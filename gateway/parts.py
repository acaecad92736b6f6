"""What the routes work with: opened by the lifespan, in the order in which data flows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from gateway.log import Ends, Log
from gateway.seals import Seal
from gateway.settings import Settings
from gateway.tail.admission import RUNNING_SECONDS_MAX, Admission
from gateway.tail.feed import feeding
from gateway.tail.history import History
from gateway.tail.hub import Hub
from projections.analytics.gather import ANALYTICS
from projections.catalog import row_projections
from projections.clickhouse.client import open_client
from projections.postgres.cursors import PostgresCursors
from projections.postgres.pool import open_pool
from projections.postgres.progress import Progress, following
from projections.store import Unavailable
from schemas.topics import event_topics

OpenLog = Callable[[], AbstractAsyncContextManager[Log]]


@dataclass(frozen=True)
class Parts:
    """The open connections of this process."""

    settings: Settings
    pool: Any
    clickhouse: Any
    progress: Progress
    log: Log
    ends: Ends
    hub: Hub
    admission: Admission
    seal: Seal

    #: Projection -> the topics that it reads.
    topics: Mapping[str, frozenset[str]]

    def topics_of(self, projection: str) -> frozenset[str]:
        """The topics that a projection reads."""
        return self.topics[projection]


def projection_topics() -> dict[str, frozenset[str]]:
    """The topics that each projection reads."""
    found = {each.name: frozenset(each.topics) for each in row_projections()}
    found[ANALYTICS] = frozenset(topic.name for topic in event_topics())
    return found


Connect = Callable[[Settings], AbstractAsyncContextManager[Parts]]


def connecting(open_log: OpenLog) -> Connect:
    """The way to open all parts, with the log that the composition root brings."""

    @asynccontextmanager
    async def connect(settings: Settings) -> AsyncIterator[Parts]:
        hub = Hub(settings.tail, settings.tenant)
        seal = Seal(settings.seal_key)
        async with (
            open_pool(
                settings.postgres, size_max=settings.pool_size_max, name="streams gateway"
            ) as pool,
            open_client(settings.clickhouse, name="streams gateway") as clickhouse,
            following(settings.postgres) as progress,
            open_log() as log,
            feeding(settings.kafka, hub) as feed,
        ):
            # Served without the log, too: reads do not need it.
            with suppress(Unavailable):
                await hub.running(RUNNING_SECONDS_MAX)
            history = History(settings.kafka, hub, feed)
            yield Parts(
                settings=settings,
                pool=pool,
                clickhouse=clickhouse,
                progress=progress,
                log=log,
                ends=feed,
                hub=hub,
                admission=Admission(hub, feed, history, seal, PostgresCursors(pool)),
                seal=seal,
                topics=projection_topics(),
            )

    return connect

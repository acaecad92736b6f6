"""The Faust app: one agent for each projection, each with a body of a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import faust

from streams.crew import Crew
from streams.transport import BatchConsumer, transport_for

#: Seconds until the group gives a silent worker's partitions to others. Tansu makes a member
#: wait half of it before it may join.
SESSION_SECONDS = 6.0

#: Records that one fetch hands over at most, for all partitions together.
FETCH_RECORDS_MAX = 20_000


def create_app(crew: Crew, group: str, folder: Path) -> faust.App:
    """A Faust app that gives the crew's projections their batches.

    Args:
        crew: owns the partitions and the lanes.
        group: the consumer group that shares the partitions.
        folder: where Faust keeps its own files.
    """
    app = faust.App(
        group,
        broker=[f"kafka://{server}" for server in crew.kafka.split(",")],
        store="memory://",
        datadir=str(folder),
        key_serializer="raw",
        value_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=SESSION_SECONDS / 6,
        broker_rebalance_timeout=SESSION_SECONDS,
        broker_max_poll_interval=600.0,
        broker_max_poll_records=FETCH_RECORDS_MAX,
        stream_buffer_maxsize=4096,
        stream_wait_empty=False,
        loghandlers=[],
    )
    app.transport = transport_for(crew)(app.conf.broker, app, app.loop)
    for name in crew.names():
        topic = app.topic(*crew.topics_of(name), key_serializer="raw", value_serializer="raw")
        app.agent(topic, name=f"project-{name}")(_agent(app, crew, name))
    return app


def _agent(app: faust.App, crew: Crew, name: str) -> Any:
    def generation() -> int:
        return cast(BatchConsumer, app.consumer).generation

    async def project(stream: Any) -> None:
        async for event in stream.events():
            try:
                await crew.hand(name, event.message.value, generation)
            except Exception as error:  # noqa: BLE001 - Faust would swallow it and go on
                crew.fail(error)
                return

    return project

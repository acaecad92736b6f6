"""Apache Kafka as one node of its own controller (KRaft), from its published jars."""

from __future__ import annotations

import base64
import signal
import subprocess
import uuid
from pathlib import Path

from compose.local.broker import speaks_kafka
from compose.local.errors import other_version, start_failed
from compose.local.java import fetch_jars, find_java
from compose.local.ports import HOST, Proxied
from compose.local.service import Command

VERSION = "4.3.0"

_MEMORY = ("-Xmx512m", "-Xms256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LOGGING = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}{listener}
advertised.listeners=PLAINTEXT://{host}:{port}{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
# One node: nothing can be replicated; one user: few partitions of its own topics suffice.
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# A group's first member works at once instead of waiting for others.
group.initial.rebalance.delay.ms=0
# After a kill the node counts as alive until its session ends, and may not come back before.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# A topic that nobody made is a mistake to hear of.
auto.create.topics.enable=false
log.retention.ms=-1
num.network.threads=2
num.io.threads=4
"""


class Kafka:
    """One node; its log stays in `folder`."""

    name = "kafka"
    stop_signal = signal.SIGTERM

    def __init__(
        self, folder: Path, port: int, controller_port: int, proxied: Proxied | None = None
    ) -> None:
        self._folder = folder
        self._port = port
        self._controller_port = controller_port
        self._proxied = proxied
        self._jars = folder / f"jars-{VERSION}"
        self._data = folder / "data"
        self._properties = folder / "server.properties"
        self._version = folder / "version"
        self.url = f"{HOST}:{port}"

    def prepare(self) -> None:
        """Get the jars and make the log's folder.

        Raises NotInstalled without Java or Maven, OtherVersion when the log is of another one.
        """
        java = find_java()
        if self._version.exists() and (found := self._version.read_text().strip()) != VERSION:
            raise other_version("Apache Kafka", self._folder, found, VERSION)
        fetch_jars(self._jars, java)
        self._properties.write_text(
            _PROPERTIES.format(
                host=HOST,
                port=self._port,
                controller=self._controller_port,
                data=self._data,
                listener=f",PROXIED://{HOST}:{self._proxied.listener}" if self._proxied else "",
                advertised=f",PROXIED://{HOST}:{self._proxied.advertised}" if self._proxied else "",
            )
        )
        if not (self._data / "meta.properties").exists():
            self._format(java)
        self._version.write_text(f"{VERSION}\n")

    def command(self) -> Command:
        """The broker and controller in one process."""
        return Command((*self._java(find_java()), "kafka.Kafka", str(self._properties)))

    def ready(self, pid: int) -> bool:
        """Whether it answers Kafka's first request."""
        return speaks_kafka(self._port)

    def _java(self, java: Path) -> tuple[str, ...]:
        return (str(java), *_MEMORY, _LOGGING, "-cp", f"{self._jars}/*")

    def _format(self, java: Path) -> None:
        """Give the log its identity."""
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # In one word: an id may begin with a dash.
        tool = (*self._java(java), "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}")
        made = subprocess.run(
            (*tool, "--config", str(self._properties)), capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise start_failed("kafka", "its folder cannot be made", made.stdout + made.stderr)

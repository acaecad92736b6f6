"""How a producer is set up: few choices, since most are part of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas import limits
from schemas.codec import TENANT

DELIVERY_SECONDS_DEFAULT = 30.0
"""Long enough for a broker's restart or an election, short enough for someone who waits."""

CONNECT_SECONDS_MAX = 10.0
"""A broker that has not answered a first question by then is away."""

REFUSED_SECONDS_MAX = 3.0
"""How long addresses that refuse connections are tried: a broker about to listen has a moment."""

LINGER_MS_DEFAULT = 5.0
"""Costs no one anything when events come in bulk, and a single one five milliseconds at most."""

QUEUE_RECORDS_MAX = 200_000
QUEUE_KILOBYTES_MAX = 256 * 1024
"""What waits in this process for the broker; past it, sending waits."""

BATCH_BYTES_MAX = 900_000
"""Below the topics' record batch limit with room for the batch's own bytes. Compression makes
it smaller still, and an event over the limit has a batch of its own."""

assert limits.source_record_bytes_max > BATCH_BYTES_MAX
assert limits.event_size_bytes_max < BATCH_BYTES_MAX


@dataclass(frozen=True, slots=True)
class ProducerSettings:
    """`bootstrap` is `host:port[,host:port]`; seconds and milliseconds as named.

    `more` goes to librdkafka as it is (security.protocol, sasl.*), and cannot change what the
    contract demands.
    """

    bootstrap: str
    client_id: str = "streams-producer"
    tenant: str = TENANT
    linger_ms: float = LINGER_MS_DEFAULT
    compression: str = "lz4"
    delivery_seconds_max: float = DELIVERY_SECONDS_DEFAULT
    more: Mapping[str, str] = field(default_factory=dict)

    def librdkafka(self) -> dict[str, str | int | float | bool]:
        """The configuration of the client underneath."""
        return {
            **self.more,
            "bootstrap.servers": self.bootstrap,
            "client.id": self.client_id,
            # In order and once into the log, whatever the network does.
            "enable.idempotence": True,
            "acks": "all",
            "delivery.timeout.ms": int(self.delivery_seconds_max * 1000),
            # The Java clients' partitioner, so that a person's events meet in one partition
            # number of all topics whoever sent them.
            "partitioner": "murmur2_random",
            "compression.type": self.compression,
            "linger.ms": self.linger_ms,
            "batch.num.messages": 10_000,
            "batch.size": BATCH_BYTES_MAX,
            "message.max.bytes": limits.source_record_bytes_max,
            "queue.buffering.max.messages": QUEUE_RECORDS_MAX,
            "queue.buffering.max.kbytes": QUEUE_KILOBYTES_MAX,
            "allow.auto.create.topics": False,
            "topic.metadata.propagation.max.ms": 2_000,
        }

"""Where the log really ends.

Tansu answers the question for a partition's latest offset with the first offset of its last
record batch plus one; what a fetch says is right on every broker. The answer is therefore a lower
bound, exact on Apache Kafka, and the last batch is fetched where that is not enough. Whoever has
read up to the bound has read the whole of the last batch, because batches are fetched whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import aiokafka
from aiokafka.errors import KafkaError

from projections.batch import Partition
from projections.store import Unavailable

#: Milliseconds that one fetch may wait for records.
FETCH_WAIT_MS = 500


async def true_end(kafka: str, place: Partition, bound: int) -> int:
    """The next offset of a partition whose broker says that it ends at ``bound``."""
    if bound == 0:
        return 0
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        asked = aiokafka.TopicPartition(*place)
        consumer.assign([asked])
        consumer.seek(asked, bound - 1)
        await consumer.getmany(asked, timeout_ms=FETCH_WAIT_MS)
        return max(bound, consumer.highwater(asked) or 0)
    finally:
        await consumer.stop()


async def readable_ends(kafka: str, places: Iterable[Partition]) -> Mapping[Partition, int]:
    """Up to where consumers of committed records can read, at least (see the module).

    Asked by a connection of its own, so that it does not depend on a consumer's being well.

    Raises:
        Unavailable: the broker does not answer.
    """
    asked = [aiokafka.TopicPartition(*place) for place in places]
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=kafka, enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        await consumer.start()
        found = await consumer.end_offsets(asked) if asked else {}
    except (KafkaError, OSError) as error:
        raise Unavailable(f"the ends of the log: {error}") from error
    finally:
        await consumer.stop()
    return {Partition(*place): end for place, end in found.items()}

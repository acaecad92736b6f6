"""Where the log really ends.

Tansu answers the question for a partition's latest offset with the first offset of its last
record batch plus one; what a fetch says is right on every broker. The answer is therefore a lower
bound, exact on Apache Kafka, and the last batch is fetched where that is not enough. Whoever has
read up to the bound has read the whole of the last batch, because batches are fetched whole.
"""

from __future__ import annotations

import aiokafka

from projections.batch import Partition

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

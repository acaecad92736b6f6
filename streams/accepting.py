"""Taking the log as it is for the one that the checkpoints are of, because an operator says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import aiokafka
from aiokafka.errors import KafkaError

from projections.batch import Partition
from projections.log_identity import Acceptance, Identities, Span, acceptance
from projections.postgres.accepting import Held
from projections.store import Unavailable
from streams.identity import identities_of, spans
from streams.topics import partition_counts

#: Tells the rows of appends of these topics, by their logs' numbers, from those of the next log,
#: and deletes those at or beyond these offsets.
Retire = Callable[[Mapping[str, int], Mapping[Partition, int]], Awaitable[None]]


async def accept_log(kafka: str, identities: Identities, held: Held, retire: Retire) -> Acceptance:
    """Accept the log at ``kafka`` within the transaction of ``held``.

    1. ask the broker what it has, and compare;
    2. number the logs that are given up;
    3. have the rows of appends follow, which can be done twice but not undone;
    4. move offsets and checkpoints, and keep which log it is.

    A crash before the end leaves the worker where it was: it refuses the log, and accepting it
    again does the same.

    Raises:
        NothingToAccept: it is the same log, and the checkpoints lie in it.
        BrokerSilent: no broker answers.
        TopicsMissing: they must be made first.
        Unavailable: something does not answer.
    """
    known = await identities.known()
    counts = await partition_counts(kafka)
    found = await asyncio.to_thread(identities_of, kafka)
    furthest: dict[Partition, int] = {
        Partition(topic, number): 0 for topic, count in counts.items() for number in range(count)
    }
    for one in held.standings:
        if one.place in furthest:
            furthest[one.place] = max(one.next_offset, furthest[one.place])
    there = await _spans_of(kafka, furthest)
    accepted = acceptance(known, found, held.standings, there)
    numbered = {
        topic: await held.number(topic, known.get(topic, found[topic]))
        for topic in accepted.retired
    }
    await retire({topic: no for topic, (no, _) in numbered.items()}, held.appended(accepted))
    shifts = {topic: shift for topic, (_, shift) in numbered.items()}
    await held.accept(accepted, shifts, found, there)
    return accepted


async def _spans_of(kafka: str, offsets: Mapping[Partition, int]) -> Mapping[Partition, Span]:
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    try:
        await consumer.start()
        asked: Sequence[object] = [aiokafka.TopicPartition(*place) for place in offsets]
        begins = await consumer.beginning_offsets(asked)
        ends = await consumer.end_offsets(asked)
        return await spans(kafka, offsets, begins, ends)
    except (KafkaError, OSError) as error:
        raise Unavailable(f"{kafka} does not tell what the log holds: {error}") from error
    finally:
        await consumer.stop()

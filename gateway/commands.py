"""Commands: what a person does, appended to the log under their own name.

A command takes effect at a position. So the ends of the partitions that it bears on are read before
it is acknowledged and written into it: whatever is appended after the answer meets the command,
whatever was appended before the request does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from gateway.operations import Call
from gateway.parts import Parts
from projections.batch import Partition
from schemas.codec import encode_batch
from schemas.envelope import Draft, now, uuid7
from schemas.position import Position
from schemas.topics import APP_COMMANDS, partition_of

SOURCE = "/streams/gateway"


def command(call: Call, kind: str, data: Mapping[str, Any], subject: str | None = None) -> Draft:
    """A command of the caller; ``kind`` is the type with its version, ``data`` as on the wire."""
    command_id = uuid7()
    return Draft(
        id=command_id,
        type=kind,
        source=SOURCE,
        data=dict(data),
        time=now(),
        user_id=call.user_id,
        subject=subject,
        tenant_id=call.parts.settings.tenant,
        correlation_id=command_id,
    )


async def effective(parts: Parts, keys: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Where the partitions of these (topic, key) end now: ``{"bfc.ledger:3": 1042}``.

    Raises:
        Unavailable: the log does not answer.
    """
    places = {
        (topic, partition_of(key.encode(), parts.ends.partitions(topic))) for topic, key in keys
    }
    if not places:
        return {}
    ends = await parts.ends.ends(places)
    return {f"{topic}:{partition}": ends[topic, partition] for topic, partition in sorted(places)}


async def own_ends(call: Call, topics: Collection[str]) -> dict[str, int]:
    """The same for the caller's own partition of these topics."""
    return await effective(call.parts, ((topic, call.user_id) for topic in topics))


async def caught_up(call: Call, projection: str) -> None:
    """Wait until a read model knows all that the caller has ordered so far.

    A change is one of the newest version, also when it comes right behind the creation.

    Raises:
        NotReached: the read model is too far behind.
        Unavailable: the log does not answer.
    """
    parts, topic = call.parts, APP_COMMANDS.name
    place = Partition(topic, partition_of(call.user_id.encode(), parts.ends.partitions(topic)))
    ends = await parts.ends.ends([place])
    await parts.progress.reached(projection, ends, parts.settings.reached_seconds_max)


async def append(parts: Parts, drafts: Sequence[Draft]) -> Sequence[Position]:
    """Append and return once the log has all of them.

    Raises:
        InvalidEvent: a draft is not a valid event.
        Unavailable: the log does not answer.
    """
    return await parts.log.append(encode_batch(drafts, tenant=parts.settings.tenant))

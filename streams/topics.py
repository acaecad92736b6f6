"""The topics in the broker: made when they are missing, compared when they are there.

A topic that is there with other settings is reported and left alone: changing it is a decision
(fewer partitions cannot be had, more would send people's events elsewhere).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from schemas.topics import TOPICS, Topic

ANSWER_SECONDS_MAX = 10.0
"""A broker that has not answered by then is away."""

CREATION_SECONDS_MAX = 30.0

_PASSING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)

ASK_AGAIN_SECONDS = 0.1
"""Between two questions to a broker that is about to be able to answer."""


class BrokerSilent(Exception):
    """No broker answers, so nothing is known of the topics."""


class TopicNotMade(Exception):
    """The broker refused to make a topic."""


class TopicsMissing(Exception):
    """Topics are not there; a worker that started now would wait for ever and say nothing."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting of a topic that is not as it should be."""

    topic: str
    setting: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, should be {self.wanted}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was there, what was made, what differs, what is not there.

    `unseen` names settings that the broker does not tell, so they could not be compared.
    """

    created: tuple[str, ...]
    present: tuple[str, ...]
    missing: tuple[str, ...]
    differences: tuple[Difference, ...]
    unseen: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether workers may start."""
        return not self.missing and not self.differences


def ensure(bootstrap: str, partitions: int, replicas: int = 1) -> Report:
    """Make the topics that are missing, each with `partitions`; compare the others.

    Two that run at once do not disturb each other. Raises BrokerSilent and TopicNotMade.
    """
    admin = create_admin(bootstrap)
    there = _partition_counts(admin, bootstrap)
    wanted = [topic for topic in TOPICS.values() if topic.name not in there]
    created = _create(admin, wanted, partitions, replicas)
    return _report(admin, bootstrap, partitions, created)


def check(bootstrap: str, partitions: int | None) -> Report:
    """Compare only. Without `partitions` all topics must have the same number, whatever it is.

    Raises BrokerSilent.
    """
    return _report(create_admin(bootstrap), bootstrap, partitions, ())


def missing_topics(bootstrap: str, names: Sequence[str] = tuple(TOPICS)) -> list[str]:
    """Which of the topics are not there; ask before starting a worker. Raises BrokerSilent."""
    there = _partition_counts(create_admin(bootstrap), bootstrap)
    return [name for name in names if name not in there]


async def partition_counts(bootstrap: str) -> dict[str, int]:
    """How many partitions each of our topics has: what a worker asks before it starts.

    Raises BrokerSilent, and TopicsMissing unless all of them are there.
    """
    counts = await asyncio.to_thread(_partition_counts, create_admin(bootstrap), bootstrap)
    missing = [name for name in TOPICS if name not in counts]
    if missing:
        raise TopicsMissing(
            f"missing at {bootstrap}: {', '.join(missing)}; make them with: streams topics create"
        )
    return counts


def log_ends(bootstrap: str) -> dict[tuple[str, int], int]:
    """The next offset of each partition of our topics, as the broker tells it (see `ends`).

    A partition that has no leader yet, as right after its creation, is asked for again. Raises
    BrokerSilent.
    """
    admin = create_admin(bootstrap)
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    while True:
        try:
            return _log_ends(admin, bootstrap)
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() > deadline:
                raise BrokerSilent(f"{bootstrap}: {error.args[0].str()}") from error
            time.sleep(ASK_AGAIN_SECONDS)


def _log_ends(admin: AdminClient, bootstrap: str) -> dict[tuple[str, int], int]:
    counts = _partition_counts(admin, bootstrap)
    asked = {
        TopicPartition(name, number): OffsetSpec.latest()  # type: ignore[no-untyped-call]
        for name, count in counts.items()
        for number in range(count)
    }
    found = admin.list_offsets(asked, request_timeout=ANSWER_SECONDS_MAX)
    return {
        (place.topic, place.partition): future.result().offset for place, future in found.items()
    }


def create_admin(bootstrap: str) -> AdminClient:
    """A client for questions about topics."""
    # Silent: the call that fails says what librdkafka would write to standard error.
    configuration: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "log_level": 0,
        "error_cb": _ignore,
    }
    return AdminClient(configuration)


def _ignore(error: KafkaError) -> None:
    """The call that fails says it, too."""


def _partition_counts(admin: AdminClient, bootstrap: str) -> dict[str, int]:
    try:
        topics = admin.list_topics(timeout=ANSWER_SECONDS_MAX).topics
    except KafkaException as error:
        raise BrokerSilent(
            f"no Kafka broker answers at {bootstrap} ({error.args[0].str()})"
        ) from error
    return {
        name: len(topic.partitions)
        for name, topic in topics.items()
        if name in TOPICS and topic.error is None
    }


def _create(
    admin: AdminClient, topics: Sequence[Topic], partitions: int, replicas: int
) -> tuple[str, ...]:
    if not topics:
        return ()
    asked = [
        NewTopic(topic.name, partitions, replicas, config=dict(topic.settings)) for topic in topics
    ]
    created = []
    for name, future in admin.create_topics(asked, request_timeout=CREATION_SECONDS_MAX).items():
        try:
            future.result()
        except KafkaException as error:
            # Somebody else was quicker; the comparison that follows sees what they made.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicNotMade(f"{name}: {error.args[0].str()}") from error
        else:
            created.append(name)
    return tuple(created)


def _report(
    admin: AdminClient, bootstrap: str, partitions: int | None, created: tuple[str, ...]
) -> Report:
    counts = _partition_counts(admin, bootstrap)
    present = [name for name in TOPICS if name in counts]
    differences: list[Difference] = []
    should = partitions or max(counts.values(), default=0)
    for name in present:
        if counts[name] != should:
            differences.append(Difference(name, "partitions", str(should), str(counts[name])))
    unseen: set[str] = set()
    for name, found in _settings(admin, present).items():
        for setting, wanted in TOPICS[name].settings.items():
            if setting not in found:
                unseen.add(setting)
            elif found[setting] != wanted:
                differences.append(Difference(name, setting, wanted, found[setting]))
    return Report(
        created=created,
        present=tuple(name for name in present if name not in created),
        missing=tuple(name for name in TOPICS if name not in counts),
        differences=tuple(differences),
        unseen=tuple(sorted(unseen)),
    )


def _settings(admin: AdminClient, names: Sequence[str]) -> dict[str, Mapping[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    found: dict[str, Mapping[str, str]] = {}
    futures: dict[Any, Any] = admin.describe_configs(resources, request_timeout=ANSWER_SECONDS_MAX)
    for resource, future in futures.items():
        entries = future.result()
        found[resource.name] = {
            name: entry.value for name, entry in entries.items() if entry.value is not None
        }
    return found

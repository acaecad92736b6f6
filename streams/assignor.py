"""Who of a group gets which partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)


class SameNumberAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """Gives one member the partitions of the same number of all topics.

    One person's events then meet in one worker. Members in the order of their ids take the
    numbers in turn.
    """

    name = "same-number"

    @classmethod
    def assign(cls, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        topics = sorted({topic for member in members.values() for topic in member.subscription})
        names = sorted(members)
        shares: dict[str, dict[str, list[int]]] = {name: {} for name in names}
        for topic in topics:
            for number in sorted(cluster.partitions_for_topic(topic) or ()):
                shares[names[number % len(names)]].setdefault(topic, []).append(number)
        return {
            name: ConsumerProtocolMemberAssignment(0, sorted(share.items()), b"")
            for name, share in shares.items()
        }

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> Any:
        return ConsumerProtocolMemberMetadata(0, list(topics), b"")

    @classmethod
    def on_assignment(cls, assignment: Any) -> None:
        """Nothing is kept between assignments."""

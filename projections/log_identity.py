"""Which log the checkpoints are of, and what is wrong when the log is another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from projections.batch import Partition


class TopicIdentity(NamedTuple):
    """What tells one log of a name from another: the cluster's id and the topic's.

    ``topic_id`` is written as Kafka's own tools write it; empty where the broker tells none.
    """

    cluster_id: str
    topic_id: str

    def __str__(self) -> str:
        return f"topic id {self.topic_id or 'untold'} of cluster {self.cluster_id}"


class Span(NamedTuple):
    """What a partition holds: offsets from ``begin`` up to but not including ``end``."""

    begin: int
    end: int


class LogMismatch(Exception):
    """The log is not the one that the checkpoints are of, or lacks what comes after them.

    The message has the facts; an operator decides.
    """


WAYS_OUT = (
    "Nothing was skipped and nothing written. Ways out: bring back the log that was there;"
    " or `streams worker --accept-new-log` takes this one: it is read from its beginning, what"
    " the read models have is kept, and events that they know take no effect again; after that"
    " `streams rebuild NAME` makes a read model from this log alone"
)


class Identities(Protocol):
    """Keeps the identity of each topic beside the checkpoints."""

    async def known(self) -> Mapping[str, TopicIdentity]:
        """The topics whose log is known.

        Raises:
            Unavailable: the database does not answer.
        """

    async def learn(self, found: Mapping[str, TopicIdentity]) -> None:
        """Keep the identity of topics that were not known; the others stay as they are.

        Raises:
            Unavailable: the database does not answer.
        """


def compare(
    known: Mapping[str, TopicIdentity], found: Mapping[str, TopicIdentity], where: str
) -> None:
    """Whether all topics that are known are still the same.

    Args:
        known: as they are kept beside the checkpoints.
        found: as the broker has them; a topic that is missing there is not in it.
        where: the broker's address, for the message.

    Raises:
        LogMismatch: naming each topic that is another one or is gone.
    """
    differences = [
        f"{topic} was {identity}, is {found.get(topic, 'gone')}"
        for topic, identity in sorted(known.items())
        if found.get(topic) != identity
    ]
    if differences:
        raise LogMismatch(
            f"the log at {where} is not the one that the checkpoints are of:"
            f" {'; '.join(differences)}. {WAYS_OUT}"
        )


def outside(where: str, offsets: Mapping[Partition, int], spans: Mapping[Partition, Span]) -> str:
    """What is wrong with those offsets that do not lie in the log; empty if all do."""
    facts = []
    for place, offset in sorted(offsets.items()):
        begin, end = spans[place]
        if offset < begin:
            facts.append(
                f"{place.topic}:{place.partition} begins at {begin}, but the read models stand at"
                f" {offset}: offsets {offset} to {begin - 1} were cut off"
            )
        elif offset > end:
            facts.append(
                f"{place.topic}:{place.partition} has the offsets {begin} to {end}, but the read"
                f" models stand at {offset}: its end was lost, or this is another log"
            )
    return f"at {where} {'; '.join(facts)}. {WAYS_OUT}" if facts else ""


class NothingToAccept(Exception):
    """The log is the one that the checkpoints are of, and they lie in it."""


class Standing(NamedTuple):
    """Where a projection stands on a partition."""

    projection: str
    place: Partition
    next_offset: int


class Acceptance(NamedTuple):
    """What accepting the log as it is changes.

    ``retired`` topics are other ones than before, or have lost their end: they are read from
    their beginning, and what is known of their predecessors is put before it. Of the others,
    ``cut`` are the partitions of which something was lost at the beginning.
    """

    retired: tuple[str, ...]
    cut: Mapping[Partition, int]
    lines: tuple[str, ...]


def acceptance(
    known: Mapping[str, TopicIdentity],
    found: Mapping[str, TopicIdentity],
    standings: Sequence[Standing],
    spans: Mapping[Partition, Span],
) -> Acceptance:
    """What accepting this log means, and one line for an operator on each thing that is lost.

    Raises:
        NothingToAccept: nothing is wrong with it.
    """
    others = {t: f"was {i}, is {found[t]}" for t, i in known.items() if found[t] != i}
    lost = {
        one.place.topic: f"ends at {spans[one.place].end}, was read up to {one.next_offset}"
        for one in standings
        if one.place in spans and one.next_offset > spans[one.place].end
    }
    retired = {**lost, **others}
    lines = [f"{topic} {what}: read from its beginning" for topic, what in sorted(retired.items())]
    cut: dict[Partition, int] = {}
    for projection, place, offset in sorted(standings):
        if place.topic not in retired and place in spans and offset < spans[place].begin:
            cut[place] = spans[place].begin
            lines.append(
                f"{place.topic}:{place.partition}: offsets {offset} to {cut[place] - 1} are lost"
                f" to {projection}"
            )
    if not retired and not cut:
        raise NothingToAccept("the log is the one that the checkpoints are of; nothing to accept")
    return Acceptance(tuple(sorted(retired)), cut, tuple(lines))

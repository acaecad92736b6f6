"""Cursors of the tail: the next offset of every partition that a reader follows.

A cursor stands for itself: any gateway process reads on from it without asking another one. So it
holds a whole vector of offsets, not a number that one process understands. What keeps it short is
that a person's events lie in one partition number of each topic: some twenty offsets, some eighty
characters. Offsets travel as varints, which are kept as bytes wherever vectors are kept, so that
making a cursor for a message is one join of small byte strings and one seal.

Layout of the payload: version, number of groups, then per group a bit mask of topics, the first
partition and the number of partitions; then the offsets of all groups in that order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.log import Place
from schemas.errors import Invalid

#: A topic's number is its place here, for ever: new topics are appended.
NUMBERED_TOPICS = (
    "bfc.ledger",
    "bfc.transfers",
    "bfc.kyc",
    "vyomo.orders",
    "vyomo.ledger",
    "market.prices",
    "market.fx",
    "journeys",
    "external",
    "app.commands",
    "notifications",
    "rules.triggered",
    "actions",
    "wealth",
    "sync.conflicts",
)
_NUMBER = {name: number for number, name in enumerate(NUMBERED_TOPICS)}

VERSION = 1

#: Of a cursor in a URL. An operator's with 15 topics of 100 partitions has some 8,000 characters;
#: servers give up on longer request lines.
CURSOR_LENGTH_MAX = 7_000

#: Places that one cursor may name; a bound on what a stranger's payload makes us build.
PLACES_MAX = 100_000


def varint(number: int) -> bytes:
    """LEB128: seven bits a byte, lowest first."""
    if number < 0x80:
        return bytes((number,))
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@dataclass(frozen=True)
class Group:
    """All partitions from ``first`` on, ``count`` of them, of each of these topics."""

    topics: tuple[str, ...]
    first: int
    count: int

    def places(self) -> Iterable[Place]:
        for topic in sorted(self.topics, key=_NUMBER.__getitem__):
            for partition in range(self.first, self.first + self.count):
                yield topic, partition

    def header(self) -> bytes:
        mask = sum(1 << _NUMBER[topic] for topic in self.topics)
        return varint(mask) + varint(self.first) + varint(self.count)


class Shape:
    """The places that a reader follows, in the order in which its cursors name them."""

    def __init__(self, groups: Sequence[Group]) -> None:
        kept = [group for group in groups if group.topics and group.count]
        self.places: tuple[Place, ...] = tuple(place for group in kept for place in group.places())
        self._head = (
            bytes((VERSION,)) + varint(len(kept)) + b"".join(group.header() for group in kept)
        )

    def payload(self, chunks: Sequence[bytes]) -> bytes:
        """The cursor's payload, of one varint for each place."""
        return self._head + b"".join(chunks)


def offsets_of(payload: bytes) -> Mapping[Place, int]:
    """The next offset by place that a payload names; raises Invalid if it is not of this form."""
    reader = _Reader(payload)
    if reader.byte() != VERSION:
        raise Invalid("is a cursor of another version of this gateway")
    places: list[Place] = []
    for _ in range(reader.varint()):
        mask, first, count = reader.varint(), reader.varint(), reader.varint()
        topics = [name for number, name in enumerate(NUMBERED_TOPICS) if mask >> number & 1]
        if mask >> len(NUMBERED_TOPICS) or len(topics) * count + len(places) > PLACES_MAX:
            raise Invalid("is a cursor of another version of this gateway")
        places.extend(Group(tuple(topics), first, count).places())
    offsets = {place: reader.varint() for place in places}
    reader.end()
    return offsets


class _Reader:
    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def byte(self) -> int:
        if self._at >= len(self._payload):
            raise Invalid("is a cursor that was cut off")
        self._at += 1
        return self._payload[self._at - 1]

    def varint(self) -> int:
        number = shift = 0
        while True:
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7
            if shift > 63:
                raise Invalid("is a cursor with an offset that can't be")

    def end(self) -> None:
        if self._at != len(self._payload):
            raise Invalid("is a cursor with something after its end")

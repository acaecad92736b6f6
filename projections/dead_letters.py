"""How a dead letter travels: the original record with who refused it, why, and where it stood."""

from __future__ import annotations

import re
from collections.abc import Sequence

from projections.batch import DeadLetter
from schemas.position import Position

TOPIC = "dead-letters"

#: The projection of a dead letter that nobody can read.
NOBODY = "*"

#: A record that is in its topic again has this header: which dead letter it was.
RETRY = "dl-retry"

#: UTF-8 bytes of a reason. One record may have thousands of errors; its headers must stay far
#: below what the topic takes beyond the source's record, and the first errors say enough.
REASON_BYTES_MAX = 8 * 1024

_CUT = " …"

#: Partition and offset; those of a log that was given up lie below zero.
_PLACE = re.compile(r"[0-9]{1,9}:-?[0-9]{1,18}", re.ASCII)

Header = tuple[str, bytes | None]


def headers_of(letter: DeadLetter) -> list[Header]:
    """The original headers in order, then ours (contract, Dead letters)."""
    original: Sequence[Header] = letter.record.headers if letter.record else ()
    return [
        *((name_of(name), value) for name, value in original),
        ("dl-projection", letter.projection.encode()),
        ("dl-reason", reason_of(letter).encode()),
        ("dl-topic", letter.position.topic.encode()),
        ("dl-partition", str(letter.position.partition).encode()),
        ("dl-offset", str(letter.position.offset).encode()),
    ]


def identity_of(headers: Sequence[Header]) -> str:
    """What tells one dead letter from another, from the last of each of our headers.

    Others may write to the topic, too; such a record has an identity that no dead letter has.
    """
    found = dict(headers)
    parts = ("dl-projection", "dl-topic", "dl-partition", "dl-offset")
    return "|".join((found.get(name) or b"").decode("utf-8", "replace") for name in parts)


def reason_of(letter: DeadLetter) -> str:
    """The reason as every store can keep it: UTF-8 without U+0000, of bounded length.

    It quotes what the record says, and that may be anything.
    """
    text = letter.reason.replace("\0", "\\u0000").encode("utf-8", "backslashreplace")
    if len(text) <= REASON_BYTES_MAX:
        return text.decode()
    return text[: REASON_BYTES_MAX - len(_CUT.encode())].decode("utf-8", "ignore") + _CUT


def retry_of(headers: Sequence[Header]) -> str | None:
    """Which dead letter a record tries again (``projection|topic|partition|offset``), if any.

    The header is the last one: it was added to those that the record had.
    """
    if not headers or headers[-1][0] != RETRY:
        return None
    return (headers[-1][1] or b"").decode("utf-8", "replace")


def place_of(identity: str) -> tuple[str, Position] | None:
    """The projection and the position that an identity names; None if it is none."""
    parts = identity.split("|")
    if len(parts) != 4 or _PLACE.fullmatch(":".join(parts[2:])) is None:
        return None
    return parts[0], Position(parts[1], int(parts[2]), int(parts[3]))


def name_of(header: str) -> str:
    """A header's name as every store can keep it: without U+0000."""
    return header.replace("\0", "\\u0000")

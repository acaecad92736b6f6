"""How a dead letter travels: the original record with who refused it, why, and where it stood."""

from __future__ import annotations

from collections.abc import Sequence

from projections.batch import DeadLetter

TOPIC = "dead-letters"

Header = tuple[str, bytes | None]


def headers_of(letter: DeadLetter) -> list[Header]:
    """The original headers in order, then ours (contract, Dead letters)."""
    original: Sequence[Header] = letter.record.headers if letter.record else ()
    return [
        *original,
        ("dl-projection", letter.projection.encode()),
        ("dl-reason", letter.reason.encode()),
        ("dl-topic", letter.position.topic.encode()),
        ("dl-partition", str(letter.position.partition).encode()),
        ("dl-offset", str(letter.position.offset).encode()),
    ]


def identity_of(headers: Sequence[Header]) -> str:
    """What tells one dead letter from another, from the last of each of our headers."""
    found = dict(headers)
    parts = ("dl-projection", "dl-topic", "dl-partition", "dl-offset")
    return "|".join((found[name] or b"").decode() for name in parts)

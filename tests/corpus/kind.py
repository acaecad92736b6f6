"""What a kind of bad record is, and how most are made: a good one with one thing changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.codec import RawRecord
from schemas.envelope import Draft, document_of
from tests.builders import posted, record_of

#: Whose records they are, unless the kind is about nobody's.
PERSON = "usr_17"

Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class Kind:
    """A record that nobody can read.

    Attributes:
        name: unique; says what is wrong.
        record: its offset is not yet that of a log.
        path: the field that the reason must name; empty for the whole record.
        withheld: why a broker can't be made to hold such a record, if that is so.
    """

    name: str
    record: RawRecord
    path: str
    withheld: str | None = None


@dataclass(frozen=True)
class Refusal:
    """A valid event that projections refuse.

    Attributes:
        name: unique; says what is wrong.
        before: what must have been applied.
        bad: the event.
        path: how the reason begins.
        by: the projections that refuse it; the others apply it.
    """

    name: str
    before: Sequence[Draft]
    bad: Draft
    path: str
    by: frozenset[str]


def good(**rest: Any) -> Draft:
    """A posting that nothing is wrong with."""
    return posted("45000.00", account="acc_1", user=PERSON, **rest)


def document(made: Draft | None = None) -> dict[str, Any]:
    """It as JSON."""
    return document_of(made or good(), "bfc")


def with_value(value: bytes | None, made: Draft | None = None) -> RawRecord:
    """The record of a good event, with another value."""
    return record_of(made or good())._replace(value=value)


def altered(
    attributes: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    *,
    without: str = "",
    made: Draft | None = None,
) -> RawRecord:
    """The record of a good event with members put in or left out (`without`: a dotted path)."""
    changed = document(made)
    changed.update(attributes or {})
    if data is not None:
        changed["data"] = {**changed["data"], **data}
    where, _, name = without.rpartition(".")
    if name:
        del (changed[where] if where else changed)[name]
    return with_value(json.dumps(changed).encode(), made)


def spliced(old: str, new: str | bytes, made: Draft | None = None) -> RawRecord:
    """The record of a good event with a piece of its JSON text exchanged, whatever that gives."""
    text = json.dumps(document(made)).encode()
    piece = new if isinstance(new, bytes) else new.encode()
    assert text.count(old.encode()) == 1, old
    return with_value(text.replace(old.encode(), piece), made)


def with_headers(headers: Sequence[Header], record: RawRecord | None = None) -> RawRecord:
    """The record with other headers."""
    return (record or record_of(good()))._replace(headers=list(headers))

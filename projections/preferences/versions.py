"""A person's preferences as versions, and the one that is in force for an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from projections.tables import Row
from schemas.envelope import Event

DEFAULT_ZONE = "UTC"
IN_APP = "inApp"

CATEGORIES = (
    "transfer",
    "transaction",
    "trade",
    "position",
    "kyc",
    "account",
    "alert",
    "system",
)
PRIORITIES = ("low", "medium", "high", "critical")


class Wire(msgspec.Struct, frozen=True, rename="camel"):
    """Kept in the database as it travels: camelCase."""


class QuietHours(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """From when to when, `HH:MM` on the person's clock; equal ends mean none at all."""

    from_: str
    to: str


class CategoryPreferences(Wire, frozen=True):
    """How notifications of one category reach the person."""

    enabled: bool = True
    delivery: str = "immediate"
    minimum_priority: str = "low"
    channels: list[str] = msgspec.field(default_factory=lambda: [IN_APP])


class Preferences(Wire, frozen=True):
    """All that a person prefers; the defaults are those of somebody who never said anything."""

    timezone: str = DEFAULT_ZONE
    base_currency: str | None = None
    quiet_hours: QuietHours | None = None
    large_debit: dict[str, Decimal] = msgspec.field(default_factory=dict)
    categories: dict[str, CategoryPreferences] = msgspec.field(default_factory=dict)

    def category(self, name: str) -> CategoryPreferences:
        """The person's choice for a category, or the defaults."""
        return self.categories.get(name, _UNSAID)

    @property
    def zone(self) -> ZoneInfo:
        return zone_of(self.timezone)


_UNSAID = CategoryPreferences()
DEFAULTS = Preferences()


class Command(Protocol):
    """A row of a command that takes effect at a position."""

    @property
    def offset(self) -> int: ...

    @property
    def effective(self) -> Mapping[str, int]: ...

    @property
    def ingested_at(self) -> datetime: ...


C = TypeVar("C", bound=Command)


class PreferencesVersion(Row, frozen=True):
    """What one command said, and where in each partition it begins (`topic:partition`)."""

    user_id: str
    offset: int
    preferences: Preferences
    effective: dict[str, int]
    ingested_at: datetime


def in_force(versions: Sequence[C], event: Event) -> C | None:
    """The latest of ``versions`` (in the order of commands) that began before the event.

    A command begins after the moment at which it was appended, and not before the offset that it
    names for the event's partition. That offset alone would not do: an event that came between
    the question for it and the command may have been folded without the command.
    """
    topic, partition, offset = event.position
    place = f"{topic}:{partition}"
    for version in reversed(versions):
        if version.effective.get(place, 0) <= offset and version.ingested_at < event.ingested_at:
            return version
    return None


def preferences_of(versions: Sequence[PreferencesVersion], event: Event) -> Preferences:
    """The preferences in force for an event; the defaults before the first command."""
    version = in_force(versions, event)
    return version.preferences if version else DEFAULTS


def version_of(command: Event) -> PreferencesVersion:
    """The version that an `app.preferences.changed` makes.

    Raises:
        KeyError: its time zone does not exist.
    """
    assert command.user_id is not None
    said = command.data.preferences
    quiet = said.quiet_hours
    zone = said.timezone or DEFAULT_ZONE
    zone_of(zone)
    return PreferencesVersion(
        user_id=command.user_id,
        offset=command.position.offset,
        preferences=Preferences(
            timezone=zone,
            base_currency=said.base_currency,
            quiet_hours=QuietHours(quiet.from_, quiet.to) if quiet else None,
            large_debit=dict(said.large_debit),
            categories=_categories(said.categories),
        ),
        effective=dict(command.data.effective),
        ingested_at=command.ingested_at,
    )


def _categories(said: object) -> dict[str, CategoryPreferences]:
    choices = {name: getattr(said, name) for name in CATEGORIES}
    return {
        name: CategoryPreferences(
            enabled=choice.enabled,
            delivery=choice.delivery,
            minimum_priority=choice.minimum_priority,
            channels=list(choice.channels),
        )
        for name, choice in choices.items()
        if choice is not None
    }


#: Files beside the zones that are not zones of the database.
_OF_THE_MACHINE = frozenset({"localtime", "posixrules"})


@cache
def zone_of(name: str) -> ZoneInfo:
    """The zone of that IANA name.

    Raises:
        KeyError: there is none of that name (ZoneInfoNotFoundError is one), or it stands for what
            the machine is set to: a rebuild elsewhere would find other days.
    """
    if name in _OF_THE_MACHINE:
        raise KeyError(name)
    try:
        return ZoneInfo(name)
    except (ValueError, OSError) as error:
        raise KeyError(name) from error

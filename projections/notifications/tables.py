"""The rows of the notifications read model."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from projections.preferences.versions import PreferencesVersion
from projections.tables import Row, Table


class Part(msgspec.Struct, frozen=True):
    """What a notification holds of one kind: how many, and their exact sums by currency."""

    kind: str
    count: int
    totals: dict[str, Decimal]


class Link(msgspec.Struct, frozen=True):
    """Where the person can go from here."""

    label: str
    href: str


class Total(msgspec.Struct, frozen=True):
    """A total as shown: rounded to the minor unit, with the currency's decimals."""

    amount: str
    currency: str


class Notification(Row, frozen=True):
    """One notification, grown by every event that joins it.

    ``slot`` is where the fold looks for something to join: the five-second slot of a group's
    first event, the slot of days in which a digest's window begins, below zero where nothing can
    join.
    ``first_offset`` and ``last_offset`` are those of its first and its newest event in the one
    partition that all its events are in.
    """

    user_id: str
    slot: int
    notification: UUID
    gathering: str
    category: str
    priority: str
    type: str
    title: str
    message: str
    count: int
    parts: list[Part]
    totals: list[Total]
    events: list[str]
    links: list[Link]
    channels: list[str]
    opened_at: datetime
    updated_at: datetime
    deliver_at: datetime | None
    shown_at: datetime
    window_start: datetime | None
    topic: str
    first_offset: int
    last_offset: int
    last_ingested_at: datetime


class FurtherEvent(Row, frozen=True):
    """An event of a notification whose row lists as many as it may hold already."""

    user_id: str
    notification: UUID
    ordinal: int
    event: str


class ReadMark(Row, frozen=True):
    """The person read one notification: as it was with ``seen`` events, or what was there."""

    user_id: str
    notification: UUID
    offset: int
    seen: int | None
    read_at: datetime
    ingested_at: datetime


class ReadAllMark(Row, frozen=True):
    """The person read all that came from a topic: below offset ``upto``, or what was there."""

    user_id: str
    topic: str
    offset: int
    upto: int | None
    read_at: datetime
    ingested_at: datetime


class Delivery(Row, frozen=True):
    """With how many events a held notification has been handed over at most."""

    user_id: str
    days: int
    notification: UUID
    count: int


class Holding(Row, frozen=True):
    """What the trades of one symbol add up to, and until when they go."""

    user_id: str
    account: str
    symbol: str
    quantity: Decimal
    until: datetime


class HoldingMove(Row, frozen=True):
    """A trade (``change``) or a split (``numerator`` for ``denominator``)."""

    user_id: str
    account: str
    symbol: str
    at: datetime
    offset: int
    change: Decimal
    numerator: int
    denominator: int


NOTIFICATIONS = Table(
    "notifications", Notification, key=("user_id", "slot", "notification"), unit=2
)
FURTHER_EVENTS = Table(
    "notification_events",
    FurtherEvent,
    key=("user_id", "notification", "ordinal"),
    unit=2,
    cached=False,
)
READ_MARKS = Table(
    "notification_reads",
    ReadMark,
    key=("user_id", "notification", "offset"),
    unit=2,
    cached=False,
)
READ_ALL_MARKS = Table(
    "notification_read_alls",
    ReadAllMark,
    key=("user_id", "topic", "offset"),
    unit=2,
    cached=False,
)
DELIVERIES = Table(
    "notification_deliveries", Delivery, key=("user_id", "days", "notification"), unit=2
)
PREFERENCES = Table("preferences", PreferencesVersion, key=("user_id", "offset"), unit=1)
HOLDINGS = Table("notification_holdings", Holding, key=("user_id", "account", "symbol"), unit=3)
HOLDING_MOVES = Table(
    "notification_holding_moves",
    HoldingMove,
    key=("user_id", "account", "symbol", "at", "offset"),
    unit=3,
    cached=False,
)
TABLES = (
    NOTIFICATIONS,
    FURTHER_EVENTS,
    READ_MARKS,
    READ_ALL_MARKS,
    DELIVERIES,
    PREFERENCES,
    HOLDINGS,
    HOLDING_MOVES,
)

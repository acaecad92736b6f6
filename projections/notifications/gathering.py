"""How notices become notifications: alone, in a group of five seconds, in a digest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace

from projections.notifications import wording
from projections.notifications.notices import Notice
from projections.notifications.tables import (
    FURTHER_EVENTS,
    NOTIFICATIONS,
    FurtherEvent,
    Notification,
    Part,
    Total,
)
from projections.preferences.clock import Window, day_of, hour_of, quiet_until
from projections.preferences.versions import PRIORITIES, Preferences
from projections.rows import Rows
from schemas.envelope import Event, derived_id
from schemas.instants import milliseconds
from schemas.numbers import EXACT, ZERO, money

#: How long after a group's first event another one may have happened and still join it.
GROUP_SPAN = timedelta(seconds=5)
_SLOT_MS = 5_000

#: Longer than any person's day (25 hours where clocks are turned back, and some calendars have
#: jumped), so that what an event's window holds lies in two slots of days.
_DAYS_MS = 48 * 3_600_000

#: Ids in a notification's own row and in `notification.raised`; further ones have rows of their
#: own, so that a burst of thousands does not rewrite all ids with each event.
EVENTS_LISTED_MAX = 100

#: Part of each notification's id. It stays when the projection's version is raised: what people
#: have read must be the same notification after a rebuild.
IDENTITY = 1

SINGLE, GROUP = "single", "group"

#: The delivery that is no digest.
IMMEDIATE = "immediate"


class Manner(NamedTuple):
    """How a notice is gathered, in which window if it is a digest, and until when it is held."""

    gathering: str
    window: Window | None = None
    deliver_at: datetime | None = None


def manner_of(
    category: str, priority: str, happened: datetime, preferences: Preferences
) -> Manner | None:
    """What the person's preferences make of a notice; None if they want none of it."""
    choice = preferences.category(category)
    if not choice.enabled or _rank(priority) < _rank(choice.minimum_priority):
        return None
    if priority == "critical":
        return Manner(SINGLE)
    zone, quiet = preferences.zone, preferences.quiet_hours
    if choice.delivery == IMMEDIATE:
        return Manner(GROUP, deliver_at=quiet_until(happened, quiet, zone))
    window = (hour_of if choice.delivery == "hourly" else day_of)(happened, zone)
    due = quiet_until(window.end, quiet, zone) or window.end
    return Manner(choice.delivery, window, due)


def gather(
    rows: Rows,
    event: Event,
    notice: Notice,
    priority: str,
    manner: Manner,
    preferences: Preferences,
) -> Notification:
    """Put the notice where it belongs; returns the notification as it is with it."""
    found = _joined(rows, event, notice, priority, manner)
    if found is None:
        grown = _opened(event, notice, priority, manner, preferences)
    else:
        grown = _grown(rows, found, event, notice, priority)
    rows.put(NOTIFICATIONS, grown)
    return grown


def slots_of(event: Event) -> tuple[int, int]:
    """The slots in which a group that this event may join was opened."""
    slot = milliseconds(event.time) // _SLOT_MS
    return slot - 1, slot


def days_of(event: Event) -> tuple[int, int]:
    """The slots of days in which a digest that this event may join begins.

    They can be told without knowing the person's time zone, so that digests are loaded with the
    batch and not one by one.
    """
    days = milliseconds(event.time) // _DAYS_MS
    return days - 1, days


def days_of_row(row: Notification) -> int:
    """The slot of days that a notification belongs to."""
    return milliseconds(row.window_start or row.opened_at) // _DAYS_MS


def _joined(
    rows: Rows, event: Event, notice: Notice, priority: str, manner: Manner
) -> Notification | None:
    assert event.user_id is not None
    if manner.gathering == SINGLE:
        return None
    if manner.window is not None:
        days = milliseconds(manner.window.start) // _DAYS_MS
        near = rows.find(NOTIFICATIONS, event.user_id, days)
        return next((row for row in near if _is_digest_of(row, event, notice, manner)), None)
    groups = [
        row
        for slot in slots_of(event)
        for row in rows.find(NOTIFICATIONS, event.user_id, slot)
        if row.gathering == GROUP
        and row.type == event.type
        and row.priority == priority
        and row.opened_at <= event.time <= row.opened_at + GROUP_SPAN
    ]
    return min(groups, key=lambda row: row.first_offset, default=None)


def _is_digest_of(row: Notification, event: Event, notice: Notice, manner: Manner) -> bool:
    # One per topic, so that a digest, too, lives in one partition and follows from the log alone.
    return (
        manner.window is not None
        and row.window_start == manner.window.start
        and row.gathering == manner.gathering
        and row.category == notice.category
        and row.topic == event.position.topic
    )


def _opened(
    event: Event, notice: Notice, priority: str, manner: Manner, preferences: Preferences
) -> Notification:
    assert event.user_id is not None
    parts = _with_one_more([], notice)
    title, kind, links = notice.title, event.type, notice.links
    if manner.window is not None:
        kind = f"digest.{manner.gathering}"
        links = wording.page_of(notice.category)
        title = wording.digest_title(
            notice.category, manner.gathering, manner.window, preferences.zone
        )
    offset = event.position.offset
    return Notification(
        user_id=event.user_id,
        slot=_slot_to_find(event, manner),
        notification=UUID(derived_id("notifications", IDENTITY, event, "notification")),
        gathering=manner.gathering,
        category=notice.category,
        priority=priority,
        type=kind,
        title=title,
        message=notice.message,
        count=1,
        parts=parts,
        totals=_totals(parts),
        events=[notice.event or event.id],
        links=links,
        channels=preferences.category(notice.category).channels,
        opened_at=event.time,
        updated_at=event.time,
        deliver_at=manner.deliver_at,
        shown_at=manner.deliver_at or event.time,
        window_start=manner.window.start if manner.window else None,
        topic=event.position.topic,
        first_offset=offset,
        last_offset=offset,
        last_ingested_at=event.ingested_at,
    )


def _grown(
    rows: Rows, row: Notification, event: Event, notice: Notice, priority: str
) -> Notification:
    parts = _with_one_more(row.parts, notice)
    is_digest = row.gathering != GROUP
    events = row.events
    cause = notice.event or event.id
    if row.count < EVENTS_LISTED_MAX:
        events = [*events, cause]
    else:
        further = FurtherEvent(row.user_id, row.notification, row.count, cause)
        rows.put(FURTHER_EVENTS, further)
    return replace(
        row,
        priority=max(row.priority, priority, key=_rank),
        title=row.title if is_digest else wording.title_of(parts),
        message=wording.message_of(parts, notice.message),
        count=row.count + 1,
        parts=parts,
        totals=_totals(parts),
        events=events,
        links=wording.page_of(row.category),
        updated_at=max(row.updated_at, event.time),
        last_offset=event.position.offset,
        last_ingested_at=max(row.last_ingested_at, event.ingested_at),
    )


def _with_one_more(parts: Sequence[Part], notice: Notice) -> list[Part]:
    before = next((part for part in parts if part.kind == notice.kind), None)
    totals = dict(before.totals) if before else {}
    if notice.amount is not None:
        sum_so_far = totals.get(notice.currency, ZERO)
        totals[notice.currency] = EXACT.add(sum_so_far, notice.amount)
    part = Part(notice.kind, (before.count if before else 0) + 1, totals)
    if before is None:
        return [*parts, part]
    return [part if other is before else other for other in parts]


def _totals(parts: Sequence[Part]) -> list[Total]:
    """One total per currency over all parts, rounded once."""
    if len(parts) == 1:
        sums = parts[0].totals
    else:
        sums = {}
        for part in parts:
            for currency, amount in part.totals.items():
                sums[currency] = EXACT.add(sums.get(currency, ZERO), amount)
    return [Total(money(amount, currency), currency) for currency, amount in sorted(sums.items())]


def _slot_to_find(event: Event, manner: Manner) -> int:
    if manner.window is not None:
        return milliseconds(manner.window.start) // _DAYS_MS
    if manner.gathering == GROUP:
        return milliseconds(event.time) // _SLOT_MS
    # Below zero, and each its own: nobody looks for what nothing can join.
    return -1 - event.position.offset


_rank = {priority: rank for rank, priority in enumerate(PRIORITIES)}.__getitem__

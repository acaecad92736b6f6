"""A person's own clock: quiet hours, and the hours and days that digests gather."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from projections.preferences.versions import QuietHours

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class Window(NamedTuple):
    """A span of time, UTC; the end is not part of it."""

    start: datetime
    end: datetime


def quiet_until(moment: datetime, quiet: QuietHours | None, zone: ZoneInfo) -> datetime | None:
    """When the quiet hours around ``moment`` end (UTC); None if it lies in none.

    Their beginning belongs to them, their end does not.
    """
    if quiet is None or quiet.from_ == quiet.to:
        return None
    local = moment.astimezone(zone)
    begin, end = time.fromisoformat(quiet.from_), time.fromisoformat(quiet.to)
    now = local.time()
    if begin < end:
        if not begin <= now < end:
            return None
        day = local.date()
    elif now >= begin:
        day = local.date() + _DAY
    elif now < end:
        day = local.date()
    else:
        return None
    until = datetime.combine(day, end, zone).astimezone(UTC)
    if until > moment:
        return until
    # The clock was turned back over the end, and the moment lies in the repeated hour.
    return datetime.combine(day, end, zone).replace(fold=1).astimezone(UTC)


def hour_of(moment: datetime, zone: ZoneInfo) -> Window:
    """The hour of the person's clock that holds ``moment``."""
    local = moment.astimezone(zone)
    past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    start = moment.astimezone(UTC) - past
    return Window(start, start + _HOUR)


def day_of(moment: datetime, zone: ZoneInfo) -> Window:
    """The person's calendar day that holds ``moment``: 23, 24 or 25 hours long."""
    day = moment.astimezone(zone).date()
    start = datetime.combine(day, time(), zone).astimezone(UTC)
    end = datetime.combine(day + _DAY, time(), zone).astimezone(UTC)
    return Window(start, end)

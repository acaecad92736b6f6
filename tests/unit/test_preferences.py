"""A person's clock, and what they may send as preferences."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from projections.preferences.checking import checked
from projections.preferences.clock import day_of, hour_of, quiet_until
from projections.preferences.versions import QuietHours
from schemas.errors import InvalidEvent

BERLIN = ZoneInfo("Europe/Berlin")
WHOLE: dict[str, Any] = {
    "timezone": "Asia/Kolkata",
    "baseCurrency": "INR",
    "quietHours": {"from": "22:00", "to": "07:00"},
    "largeDebit": {"INR": "100000"},
    "categories": {
        "transaction": {
            "enabled": True,
            "delivery": "daily",
            "minimumPriority": "low",
            "channels": ["inApp"],
        }
    },
}


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("moment", "quiet", "until"),
    [
        # Winter: Berlin is an hour ahead.
        (utc(2026, 1, 10, 21), QuietHours("22:00", "07:00"), utc(2026, 1, 11, 6)),
        (utc(2026, 1, 10, 20, 59, 59), QuietHours("22:00", "07:00"), None),
        (utc(2026, 1, 11, 5, 59), QuietHours("22:00", "07:00"), utc(2026, 1, 11, 6)),
        (utc(2026, 1, 11, 6), QuietHours("22:00", "07:00"), None),
        (utc(2026, 1, 11, 12), QuietHours("13:00", "14:00"), utc(2026, 1, 11, 13)),
        (utc(2026, 1, 11, 13), QuietHours("13:00", "14:00"), None),
        (utc(2026, 1, 11, 13), QuietHours("13:00", "13:00"), None),
        (utc(2026, 1, 11, 13), None, None),
        # The night in which the clock is put forward is an hour shorter, the other one longer.
        (utc(2026, 3, 28, 21), QuietHours("22:00", "07:00"), utc(2026, 3, 29, 5)),
        (utc(2026, 10, 24, 20), QuietHours("22:00", "07:00"), utc(2026, 10, 25, 6)),
        # 02:15 for the second time: 02:30 is still to come.
        (utc(2026, 10, 25, 1, 15), QuietHours("22:00", "02:30"), utc(2026, 10, 25, 1, 30)),
        # 02:30 does not exist that night.
        (utc(2026, 3, 29, 0), QuietHours("22:00", "02:30"), utc(2026, 3, 29, 1, 30)),
    ],
)
def test_quiet_hours_end_by_the_persons_clock(
    moment: datetime, quiet: QuietHours | None, until: datetime | None
) -> None:
    assert quiet_until(moment, quiet, BERLIN) == until


def test_days_have_23_24_or_25_hours() -> None:
    lengths = [
        (window.end - window.start).total_seconds() / 3600
        for window in (
            day_of(utc(2026, 3, 29, 12), BERLIN),
            day_of(utc(2026, 6, 1, 22), BERLIN),
            day_of(utc(2026, 10, 25, 12), BERLIN),
        )
    ]
    assert lengths == [23, 24, 25]
    assert day_of(utc(2026, 6, 1, 22), BERLIN).start == utc(2026, 6, 1, 22)


def test_hours_are_those_of_the_persons_clock() -> None:
    kolkata = ZoneInfo("Asia/Kolkata")
    window = hour_of(utc(2026, 2, 12, 9, 29, 59), kolkata)
    assert (window.start, window.end) == (utc(2026, 2, 12, 8, 30), utc(2026, 2, 12, 9, 30))
    assert hour_of(utc(2026, 2, 12, 9, 30), kolkata).start == utc(2026, 2, 12, 9, 30)


def test_whole_preferences_go_through_as_they_are() -> None:
    assert checked(WHOLE) == WHOLE
    assert checked({"categories": {"alert": {"enabled": False}}}) == {
        "timezone": "UTC",
        "baseCurrency": None,
        "quietHours": None,
        "largeDebit": {},
        "categories": {
            "alert": {
                "enabled": False,
                "delivery": "immediate",
                "minimumPriority": "low",
                "channels": ["inApp"],
            }
        },
    }


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"timezone": "America"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"timezone": "../UTC"}, "timezone"),
        ({"timezone": "localtime"}, "timezone"),
        ({"baseCurrency": "XAU"}, "baseCurrency"),
        ({"quietHours": {"from": "25:00", "to": "07:00"}}, "quietHours.from"),
        ({"quietHours": {"from": "22:00"}}, "quietHours.to"),
        ({"quietHours": {"from": "22:00", "to": "22:00"}}, "quietHours.to"),
        ({"quietHours": "22:00-07:00"}, "quietHours"),
        ({"largeDebit": {"INR": "0"}}, "largeDebit.INR"),
        ({"largeDebit": {"INR": 100}}, "largeDebit.INR"),
        ({"largeDebit": {"inr": "1"}}, "largeDebit.inr"),
        ({"categories": {"salary": {}}}, "categories.salary"),
        ({"categories": {"trade": {"delivery": "weekly"}}}, "categories.trade.delivery"),
        (
            {"categories": {"trade": {"minimumPriority": "urgent"}}},
            "categories.trade.minimumPriority",
        ),
        ({"categories": {"trade": {"enabled": "yes"}}}, "categories.trade.enabled"),
        ({"categories": {"trade": {"channels": []}}}, "categories.trade.channels"),
        ({"categories": {"trade": {"channels": ["inapp"]}}}, "categories.trade.channels.0"),
        ({"categories": {"trade": {"muted": True}}}, "categories.trade.muted"),
        ({"language": "en"}, "language"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        checked({**WHOLE, **change})
    assert [error.path for error in caught.value.errors] == [path]


def test_preferences_are_an_object() -> None:
    with pytest.raises(InvalidEvent, match="must be a JSON object"):
        checked([])

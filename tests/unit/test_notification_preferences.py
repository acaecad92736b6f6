"""What a person's preferences make of their notifications, and what people read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from projections.memory import run
from projections.notifications.projection import Notifications
from projections.notifications.tables import NOTIFICATIONS, READ_ALL_MARKS, READ_MARKS
from schemas.codec import decode_batch
from schemas.envelope import Draft, Event
from tests.builders import at, draft, record_of
from tests.notification_folds import choosing, fold, preferring, raised, transfer

KOLKATA = "Asia/Kolkata"


async def test_a_category_that_is_off_or_below_the_minimum_raises_nothing() -> None:
    assert await raised(choosing("transfer", enabled=False), transfer("failed")) == []
    rows = await raised(
        choosing("transfer", minimumPriority="high"), transfer(), transfer("failed")
    )
    assert [row.priority for row in rows] == ["high"]


async def test_preferences_take_effect_at_a_position() -> None:
    off = preferring({"bfc.transfers:5": 1}, categories={"transfer": {"enabled": False}})
    events = [
        _event(transfer(time=at(0)), 0, partition=5),
        _event(transfer(time=at(100)), 1, partition=5),
        _event(off, 0, partition=5),
    ]
    # The command is read first, whatever its place in time.
    store = await run(Notifications(), [events[2:], events[:2]])
    assert [row.opened_at for row in store.table(NOTIFICATIONS)] == [at(0)]


async def test_without_a_position_the_time_of_ingestion_decides() -> None:
    off = preferring(categories={"transfer": {"enabled": False}})
    events = [
        _event(transfer(time=at(0)), 0, partition=5, ingested=at(50)),
        _event(transfer(time=at(1)), 1, partition=5, ingested=at(60)),
        _event(off, 0, partition=5, ingested=at(60)),
    ]
    store = await run(Notifications(), [events[2:], events[:2]])
    assert [row.opened_at for row in store.table(NOTIFICATIONS)] == [at(0)]


async def test_quiet_hours_hold_until_their_end_on_the_persons_clock() -> None:
    said = preferring(timezone=KOLKATA, quietHours={"from": "22:00", "to": "07:00"})
    night = datetime(2026, 2, 12, 16, 30, tzinfo=UTC)  # 22:00 in India
    rows = await raised(
        said, transfer(time=night), transfer(time=night - timedelta(milliseconds=1))
    )
    morning = datetime(2026, 2, 13, 1, 30, tzinfo=UTC)  # 07:00 in India
    assert [(row.deliver_at, row.shown_at) for row in rows] == [
        (morning, morning),
        (None, night - timedelta(milliseconds=1)),
    ]


async def test_a_digest_gathers_a_day_of_a_category_and_is_handed_over_by_its_timer() -> None:
    said = choosing("transfer", delivery="daily")
    store = await fold(said, transfer(time=at(0)), transfer("failed", time=at(3600)))
    (row,) = store.table(NOTIFICATIONS)
    assert (row.type, row.priority, row.count) == ("digest.daily", "high", 2)
    assert row.title == "Your transfers of 12 February 2026"
    assert row.message == (
        "1 transfer completed (₹15,000.00 total), 1 transfer failed (₹15,000.00 total)"
    )
    assert row.deliver_at == datetime(2026, 2, 12, 18, 30, tzinfo=UTC)  # midnight in India
    assert store.derived == []
    (timer,) = store.timers.values()
    assert (timer.due, timer.timer) == (row.deliver_at, f"{row.notification}:2")


async def test_a_timer_that_fires_says_what_it_carries_once() -> None:
    said = choosing("transfer", delivery="hourly")
    made = [said, transfer(time=at(0)), transfer(time=at(60))]
    store = await fold(*made)
    (timer,) = store.timers.values()
    fired = [
        draft(
            "app.timer.fired",
            {"timer": timer.timer, "projection": "notifications", "payload": timer.payload},
            time=timer.due,
        )
        for _ in range(2)
    ]
    for order_ in ([*made, *fired], [made[0], *fired, *made[1:]]):
        again = await fold(*order_)
        (said_now,) = again.derived
        assert said_now.data["count"] == 2
        assert said_now.data["title"] == "Your transfers of 12 February 2026, 15:00 to 16:00"
        assert not again.timers


async def test_timers_of_others_pass_by_and_nonsense_is_refused() -> None:
    other = {"timer": "t", "projection": "rules", "payload": {}}
    assert not (await fold(draft("app.timer.fired", other))).dead_letters
    mine = {"timer": "t", "projection": "notifications", "payload": {"days": 1}}
    (letter,) = (await fold(draft("app.timer.fired", mine))).dead_letters.values()
    assert letter.reason == "data.payload: is not one that this projection has set"


async def test_reading_leaves_marks_and_unknown_names_none() -> None:
    store = await fold(
        draft("app.notification.read", {"notification": "nonsense"}),
        draft("app.notification.read", {"notification": "0" * 32, "count": 3}),
        draft("app.notifications.read", {"effective": {"bfc.ledger:5": 7}}),
    )
    assert [mark.seen for mark in store.table(READ_MARKS)] == [3]
    upto = {mark.topic: mark.upto for mark in store.table(READ_ALL_MARKS)}
    assert len(upto) == 6 and set(upto.values()) <= {None, 7}


async def test_an_unknown_time_zone_is_refused() -> None:
    (letter,) = (await fold(preferring(timezone="Mars/Base"))).dead_letters.values()
    assert letter.reason == "data.preferences.timezone: must be an IANA time zone"


def _event(made: Draft, offset: int, partition: int, **rest: Any) -> Event:
    record = record_of(made, offset, partition=partition, **rest)
    (event,) = decode_batch([record], partitions=None)
    assert isinstance(event, Event)
    return event

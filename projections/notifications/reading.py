"""What people have read.

A mark is kept beside the notifications, not in them: it may be in the log's other topic, and so be
folded, before or after what it marks. Which notifications it covers is found when they are shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from projections.notifications.tables import (
    READ_ALL_MARKS,
    READ_MARKS,
    ReadAllMark,
    ReadMark,
)
from projections.rows import Rows
from schemas.envelope import Event
from schemas.events.app import NotificationRead, NotificationsRead


def read_one(rows: Rows, command: Event) -> None:
    """Mark one notification; a name that is no notification's marks nothing."""
    data: NotificationRead = command.data
    assert command.user_id is not None
    try:
        notification = UUID(data.notification)
    except ValueError:
        return
    mark = ReadMark(
        user_id=command.user_id,
        notification=notification,
        offset=command.position.offset,
        seen=data.count,
        read_at=command.time,
        ingested_at=command.ingested_at,
    )
    rows.put(READ_MARKS, mark)


def read_all(rows: Rows, command: Event, topics: Iterable[str]) -> None:
    """Mark everything that came from ``topics`` before the command takes effect."""
    data: NotificationsRead = command.data
    assert command.user_id is not None
    for topic in topics:
        mark = ReadAllMark(
            user_id=command.user_id,
            topic=topic,
            offset=command.position.offset,
            upto=data.effective.get(f"{topic}:{command.position.partition}"),
            read_at=command.time,
            ingested_at=command.ingested_at,
        )
        rows.put(READ_ALL_MARKS, mark)

"""The read side of notifications: lists and single ones, as the API shows them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from projections.postgres import queries
from projections.postgres.pool import Connection
from projections.preferences.view import preferences, preferred_currency, preferred_zone
from schemas.errors import Invalid
from schemas.instants import from_milliseconds, milliseconds, rfc3339

__all__ = [
    "notification",
    "notifications",
    "preferences",
    "preferred_currency",
    "preferred_zone",
]

_sql = queries.load("projections.notifications")

#: A page beside the number of all that is unread, in one statement: it sees one moment of all its
#: tables, and locks the projection's first one first (`reading.one_state` does the same for
#: several statements). Where the page is empty the number has a row of its own.
_PAGE = (
    f"select page.*, u.unread from ({_sql['unread']}) as u (unread)"
    f" left join ({_sql['notifications']}) as page on true"
    " order by page.shown_at desc, page.notification desc"
)

_of_json = msgspec.json.Decoder().decode


async def notifications(
    connection: Connection,
    user_id: str,
    *,
    unread: bool | None = None,
    category: str | None = None,
    priority: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    now: datetime,
) -> dict[str, Any]:
    """A page of the person's list, newest first, with how many they have not read in all.

    ``unread`` True shows only those not read, False only those read. What is held (digests, quiet
    hours) is not shown before ``now`` has reached its time. A notification keeps its place while
    it grows, so that pages neither repeat nor miss any.

    Raises:
        Invalid: the cursor is not one that an earlier page gave.
    """
    after_time, after_id = _parse(cursor) if cursor else (None, None)
    rows = await connection.fetch(
        _PAGE, user_id, now, category, priority, unread, after_time, after_id, limit + 1, None
    )
    page = [row for row in rows[:limit] if row["notification"] is not None]
    return {
        "items": [_item(row) for row in page],
        "next": _cursor(page[-1]) if len(rows) > limit else None,
        "unread": rows[0]["unread"],
    }


async def notification(
    connection: Connection, user_id: str, notification_id: str, *, now: datetime
) -> dict[str, Any] | None:
    """One notification of the person as it is in the list; None if they can't see such a one."""
    try:
        wanted = UUID(notification_id)
    except ValueError:
        return None
    row = await connection.fetchrow(
        _sql["notifications"], user_id, now, None, None, None, None, None, 1, wanted
    )
    return _item(row) if row else None


def _item(row: Mapping[str, Any]) -> dict[str, Any]:
    read_at = row["read_at"]
    return {
        "id": str(row["notification"]),
        "category": row["category"],
        "priority": row["priority"],
        "type": row["type"],
        "title": row["title"],
        "message": row["message"],
        "count": row["count"],
        "totals": _of_json(row["totals"]),
        "events": _of_json(row["events"]),
        "openedAt": rfc3339(row["opened_at"]),
        "updatedAt": rfc3339(row["updated_at"]),
        "read": read_at is not None,
        "readAt": rfc3339(read_at) if read_at is not None else None,
        "actions": _of_json(row["links"]),
    }


def _cursor(row: Mapping[str, Any]) -> str:
    text = f"{milliseconds(row['shown_at'])}.{row['notification'].hex}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _parse(cursor: str) -> tuple[datetime, UUID]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        time, _, name = base64.urlsafe_b64decode(padded.encode()).decode().partition(".")
        return from_milliseconds(int(time)), UUID(hex=name)
    except (ValueError, OverflowError):
        raise Invalid("is not a cursor of this list") from None

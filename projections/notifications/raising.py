"""`notification.raised`: at once, or when a held notification is due.

Each growth of a notification has one such event, whose id follows from the event that made it
grow. That of a held notification goes whole into a timer; the timer's firing is an event of the
log, so what was handed over, and with how many events, is decided once and written down.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from projections.notifications.gathering import days_of_row
from projections.notifications.tables import DELIVERIES, Delivery, Notification
from projections.rows import Rows
from projections.tables import Want
from schemas.envelope import Draft, Event, derived_id
from schemas.instants import rfc3339
from schemas.numbers import is_decimal

SOURCE = "/streams/notifications"
TYPE = "notification.raised.v1"


def raise_or_hold(
    rows: Rows, row: Notification, event: Event, projection: str, version: int
) -> None:
    """Say what the notification is now, or have it said when it is due."""
    raised = derived_id(projection, version, event, "raised")
    correlation = event.correlation_id or event.id
    if row.deliver_at is None:
        rows.emit(_draft(event, event.time, raised, correlation, event.id, _data_of(row)))
        return
    days, name = days_of_row(row), row.notification
    if row.count > 1:
        rows.cancel(_timer(name, row.count - 1), row.user_id)
    delivered = rows.get(DELIVERIES, row.user_id, days, name)
    if delivered is not None and delivered.count >= row.count:
        # Commands may be read before the events that set their timers, as on a rebuild: what has
        # been handed over already is not asked for again.
        return
    payload = {
        "days": days,
        "raised": raised,
        "correlation": correlation,
        "causation": event.id,
        "data": _data_of(row),
    }
    rows.timer(_timer(name, row.count), row.user_id, row.deliver_at, payload)


def hand_over(rows: Rows, fired: Event) -> None:
    """A held notification is due: say what its timer carries, unless more was said before.

    Raises:
        Refused: the timer is not one of ours.
    """
    assert fired.user_id is not None
    payload: Mapping[str, Any] = fired.data.payload
    try:
        days, data = int(payload["days"]), payload["data"]
        name, count = UUID(data["notification"]), int(data["count"])
        draft = _draft(
            fired,
            fired.time,
            payload["raised"],
            payload["correlation"],
            payload["causation"],
            data,
        )
    except (KeyError, TypeError, ValueError):
        rows.refuse("data.payload", "is not one that this projection has set")
    rows.cancel(fired.data.timer, fired.user_id)
    delivered = rows.get(DELIVERIES, fired.user_id, days, name)
    if delivered is None or delivered.count < count:
        rows.put(DELIVERIES, Delivery(fired.user_id, days, name, count))
        rows.emit(draft)


def wanted_to_hand_over(fired: Event) -> tuple[Want, ...]:
    """The rows that `hand_over` will read."""
    days = fired.data.payload.get("days")
    return (Want(DELIVERIES, (fired.user_id, days)),) if type(days) is int else ()


def _timer(notification: UUID, count: int) -> str:
    # Each growth has its own: a timer that has fired with three events is not the one with four.
    return f"{notification}:{count}"


def _draft(
    cause: Event, time: datetime, raised: str, correlation: str, causation: str, data: Any
) -> Draft:
    return Draft(
        id=raised,
        type=TYPE,
        source=SOURCE,
        subject=data["notification"],
        user_id=cause.user_id,
        tenant_id=cause.tenant_id,
        time=time,
        correlation_id=correlation,
        causation_id=causation,
        traceparent=cause.traceparent,
        data=data,
    )


def _data_of(row: Notification) -> dict[str, Any]:
    """The notification as `notification.raised` carries it."""
    opened = rfc3339(row.opened_at)
    data: dict[str, Any] = {
        "notification": str(row.notification),
        "category": row.category,
        "priority": row.priority,
        "type": row.type,
        "title": row.title,
        "message": row.message,
        "count": row.count,
        # A sum can outgrow what a decimal string may hold; it is then only in the read model.
        "totals": [
            {"amount": total.amount, "currency": total.currency}
            for total in row.totals
            if is_decimal(total.amount)
        ],
        "events": row.events,
        "openedAt": opened,
        "updatedAt": opened if row.updated_at is row.opened_at else rfc3339(row.updated_at),
        "channels": row.channels,
    }
    if row.deliver_at is not None:
        data["deliverAt"] = rfc3339(row.deliver_at)
    return data

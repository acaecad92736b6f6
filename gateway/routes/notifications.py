"""``/api/notifications``: the list, what was read of it, and how it is to be."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from pydantic import Field
from starlette.responses import Response

from gateway.answers import COMMANDS, reading, written
from gateway.commands import append, command, own_ends
from gateway.operations import Call, Operation, Shape
from gateway.paging import Page, Pages
from gateway.problems import not_found
from gateway.routes.shapes import MoneyShape
from projections.notifications.projection import SOURCES
from projections.notifications.view import notification, notifications
from projections.postgres.pool import acquire
from projections.preferences.checking import checked
from projections.preferences.versions import Preferences as Said
from projections.preferences.view import preferences
from projections.rules.projection import Rules
from schemas.envelope import now, wire
from schemas.events.derived import Category, Priority
from schemas.instants import rfc3339

PROJECTION = "notifications"

#: Preferences bear on what notifications are made of, and on the days and limits of rules.
_PREFERENCE_TOPICS = tuple(
    sorted({*SOURCES, *Rules.topics} - {"app.commands", "market.prices", "market.fx"})
)


class Query(Page):
    """Which notifications."""

    unread: bool | None = None
    category: Category | None = None
    priority: Priority | None = None


class Link(Shape):
    """Where a notification leads."""

    label: str
    href: str


class Item(Shape):
    """One notification; `events` are the ids of the source events that made it."""

    id: str
    category: Category
    priority: Priority
    type: str
    title: str
    message: str
    count: int
    totals: list[MoneyShape]
    events: list[str]
    opened_at: str
    updated_at: str
    read: bool
    read_at: str | None
    actions: list[Link]


class Items(Shape):
    """A page, newest first, and how many are not read in all."""

    items: list[Item]
    next: str | None
    unread: int


class QuietHours(Shape):
    """Times of day in the person's time zone."""

    from_: str = Field(alias="from")
    to: str


class Choice(Shape):
    """How a category is delivered."""

    enabled: bool = True
    delivery: Literal["immediate", "hourly", "daily"] = "immediate"
    minimum_priority: Priority = "low"
    channels: list[str] = Field(default=["inApp"])


class Preferences(Shape):
    """All preferences; a category left out has the defaults."""

    timezone: str | None = None
    base_currency: str | None = None
    quiet_hours: QuietHours | None = None
    large_debit: dict[str, str] = Field(default_factory=dict)
    categories: dict[str, Choice] = Field(default_factory=dict)


async def show(call: Call) -> Response:
    """A page of the caller's notifications."""
    query = call.query(Query)
    pages = Pages(call, PROJECTION, query)
    inner = pages.inner

    async def read() -> dict[str, Any]:
        async with acquire(call.parts.pool) as connection:
            page = await notifications(
                connection,
                call.user_id,
                unread=query.unread,
                category=query.category,
                priority=query.priority,
                limit=query.limit,
                cursor=inner,
                now=now(),
            )
        return pages.sealed(page)

    return await reading(call, {PROJECTION: None}, read)


async def read_one(call: Call) -> Response:
    """Mark one as read, as it is now: if it grows it is unread again."""
    async with acquire(call.parts.pool) as connection:
        found = await notification(connection, call.user_id, call.path("id"), now=now())
    if found is None:
        raise not_found("there is no such notification")
    data = {"notification": found["id"], "count": found["count"]}
    draft = command(call, "app.notification.read.v1", data, found["id"])
    positions = await append(call.parts, [draft])
    read_at = found["readAt"] or rfc3339(draft.time)
    return written(positions, {**found, "read": True, "readAt": read_at})


async def read_all(call: Call) -> Response:
    """Mark everything that was raised until now as read."""
    data = {"effective": await own_ends(call, SOURCES)}
    positions = await append(call.parts, [command(call, "app.notifications.read.v1", data)])
    return written(positions, None, 204)


async def show_preferences(call: Call) -> Response:
    """The caller's preferences."""

    async def read() -> dict[str, Any]:
        async with acquire(call.parts.pool) as connection:
            return await preferences(connection, call.user_id)

    return await reading(call, {PROJECTION: COMMANDS}, read)


async def put_preferences(call: Call) -> Response:
    """Replace the caller's preferences."""
    body = checked(await call.json())
    data = {"preferences": body, "effective": await own_ends(call, _PREFERENCE_TOPICS)}
    positions = await append(call.parts, [command(call, "app.preferences.changed.v1", data)])
    said = msgspec.convert(body, Said)
    # What is not said is shown as it will be read.
    return written(positions, {"baseCurrency": None, "quietHours": None, **wire(said)})


OPERATIONS = (
    Operation(
        "GET",
        "/api/notifications",
        show,
        "The caller's notifications, newest first",
        answer=Items,
        query=Query,
        reads=True,
    ),
    Operation(
        "POST",
        "/api/notifications/read-all",
        read_all,
        "Mark all as read",
        status=204,
        writes=True,
    ),
    Operation(
        "POST",
        "/api/notifications/{id}/read",
        read_one,
        "Mark one as read",
        answer=Item,
        writes=True,
    ),
    Operation(
        "GET",
        "/api/notifications/preferences",
        show_preferences,
        "How the caller is notified",
        answer=Preferences,
        reads=True,
    ),
    Operation(
        "PUT",
        "/api/notifications/preferences",
        put_preferences,
        "Change how the caller is notified",
        answer=Preferences,
        body=Preferences,
        writes=True,
    ),
)

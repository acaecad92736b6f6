"""The read side of preferences. Keyed by person; takes a connection or a pool."""

from __future__ import annotations

from typing import Any

import msgspec

from projections.postgres import queries
from projections.postgres.pool import Connection
from projections.preferences.versions import DEFAULTS, Preferences
from schemas.envelope import wire

_sql = queries.load("projections.preferences")


async def current(connection: Connection, user_id: str) -> Preferences:
    """What the person said last, or the defaults."""
    text = await connection.fetchval(_sql["preferences"], user_id)
    return msgspec.json.decode(text, type=Preferences) if text else DEFAULTS


async def preferences(connection: Connection, user_id: str) -> dict[str, Any]:
    """The preferences as the API shows them; a category left out has the defaults.

    A category that the person has said something about is shown whole.
    """
    said = await current(connection, user_id)
    quiet = said.quiet_hours
    return {
        "timezone": said.timezone,
        "baseCurrency": said.base_currency,
        "quietHours": {"from": quiet.from_, "to": quiet.to} if quiet else None,
        "largeDebit": wire(said.large_debit),
        "categories": {name: wire(choice) for name, choice in sorted(said.categories.items())},
    }


async def preferred_currency(connection: Connection, user_id: str) -> str | None:
    """The base currency that the person prefers, if they said one."""
    return (await current(connection, user_id)).base_currency


async def preferred_zone(connection: Connection, user_id: str) -> str:
    """The person's IANA time zone; UTC if they never said one."""
    return (await current(connection, user_id)).timezone

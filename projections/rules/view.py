"""What rules answer: the rules of a person and what became of them.

Each function takes an asyncpg connection (or pool) and reads one person's rows by their keys.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from projections.postgres import queries
from projections.rules.definition import own_accounts
from schemas.errors import FieldError, Invalid
from schemas.instants import from_milliseconds, milliseconds, rfc3339

_sql = queries.load("projections.rules")

OUTCOMES = ("triggered", "pending", "skipped")

Connection = Any


async def list_rules(
    connection: Connection, user_id: str, *, limit: int, cursor: str | None = None
) -> dict[str, Any]:
    """A page of rules, newest first: `{"items": [...], "next": cursor or None}`.

    Raises:
        Invalid: the cursor is none that this function gave.
    """
    created_at, rule_id = _place(cursor) if cursor else (None, None)
    rows = await connection.fetch(_sql["rules"], user_id, created_at, rule_id, limit + 1)
    after = (
        _cursor(rows[limit - 1]["created_at"], rows[limit - 1]["rule_id"]) if rows[limit:] else None
    )
    return {"items": [_rule(row) for row in rows[:limit]], "next": after}


async def get_rule(connection: Connection, user_id: str, rule_id: str) -> dict[str, Any] | None:
    """A rule as `list_rules` shows it; None if the person has none of that id (any more)."""
    row = await connection.fetchrow(_sql["rule"], user_id, rule_id)
    return _rule(row) if row else None


async def list_executions(
    connection: Connection,
    user_id: str,
    *,
    rule_id: str | None = None,
    outcome: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> dict[str, Any]:
    """A page of executions, newest first by event time, of one rule or outcome if given.

    Raises:
        Invalid: the outcome is none of OUTCOMES, or the cursor none that this function gave.
    """
    if outcome is not None and outcome not in OUTCOMES:
        raise Invalid(f"outcome must be one of {', '.join(OUTCOMES)}")
    time, execution = _place(cursor) if cursor else (None, None)
    last = _uuid(execution) if execution is not None else None
    rows = await connection.fetch(
        _sql["executions"], user_id, rule_id, outcome, time, last, limit + 1
    )
    after = (
        _cursor(rows[limit - 1]["time"], str(rows[limit - 1]["execution"]))
        if rows[limit:]
        else None
    )
    return {"items": [_execution(row) for row in rows[:limit]], "next": after}


async def foreign_accounts(
    connection: Connection, user_id: str, definition: Mapping[str, Any]
) -> list[FieldError]:
    """The accounts of a definition that are known to be another person's, by their paths.

    An account that nobody is known to have is nobody else's, and `to` may be anybody's.
    """
    named = own_accounts(definition)
    rows = await connection.fetch(_sql["owners"], user_id, sorted(set(named.values())))
    foreign = {row["account"] for row in rows}
    return [
        FieldError(path, "is another person's account")
        for path, account in named.items()
        if account in foreign
    ]


def rule_json(
    rule_id: str,
    version: int,
    definition: Mapping[str, Any],
    created_at: datetime,
    updated_at: datetime,
) -> dict[str, Any]:
    """A rule as answers show it: what was posted, with its id, version and times."""
    return {
        "id": rule_id,
        **definition,
        "version": version,
        "createdAt": rfc3339(created_at),
        "updatedAt": rfc3339(updated_at),
    }


def _rule(row: Mapping[str, Any]) -> dict[str, Any]:
    return rule_json(
        row["rule_id"],
        row["version"],
        json.loads(row["definition"]),
        row["created_at"],
        row["updated_at"],
    )


def _execution(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(row["execution"]),
        "ruleId": row["rule_id"],
        "ruleVersion": row["version"],
        "event": row["event"],
        "time": rfc3339(row["time"]),
        "outcome": row["outcome"],
        "reason": row["reason"],
        "actions": json.loads(row["actions"]),
    }


def _cursor(time: datetime, id: str) -> str:
    text = json.dumps([milliseconds(time), id], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[datetime, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        time, id = json.loads(urlsafe_b64decode(padded.encode("ascii")))
        if type(time) is not int or not isinstance(id, str):
            raise ValueError(cursor)
        return from_milliseconds(time), id
    except (ValueError, TypeError, OverflowError):
        raise Invalid("the cursor is not one of this list") from None


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Invalid("the cursor is not one of this list") from None

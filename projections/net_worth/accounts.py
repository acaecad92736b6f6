"""What is known of an account, from the facts up to a moment in event time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, get_args

from msgspec.structs import replace

from projections.net_worth.tables import Account, Fact
from schemas.events.bank import AccountOpened
from schemas.events.fields import Data, wire_name
from schemas.events.trading import TradingAccountOpened

UNKNOWN = "unknown"

#: The category of an account's money, by its kind.
CATEGORIES: Mapping[str, str] = {
    "current": "cash",
    "wallet": "cash",
    "trading": "cash",
    "savings": "savings",
    "fixed_deposit": "fixed_deposits",
    "recurring_deposit": "fixed_deposits",
    "credit_card": "debt",
    "loan": "debt",
}

_OPENED: Mapping[str, type[Data]] = {"bfc": AccountOpened, "vyomo": TradingAccountOpened}

#: What an update may change here, and the Python type of it.
_CHANGEABLE: Mapping[str, type] = {"kind": str, "name": str, "institution": str, "holds_cash": bool}


def opening(data: Any) -> dict[str, Any]:
    """The members of an ``account.opened`` that net worth uses."""
    return {
        "kind": data.kind,
        "currency": data.currency,
        "name": data.name,
        "institution": data.institution,
        "holds_cash": getattr(data, "holds_cash", False),
    }


def changes(platform: str, wire: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an ``account.updated`` that net worth uses.

    Raises:
        ValueError: one has a value that it can't have; the argument is (path, message).
    """
    members: dict[str, Any] = {}
    for name, wanted in _CHANGEABLE.items():
        path = wire_name(name)
        if path not in wire:
            continue
        value = wire[path]
        if type(value) is not wanted:
            raise ValueError(f"data.changes.{path}", f"must be a {_JSON_NAMES[wanted]}")
        if name == "kind" and value not in kinds(platform):
            raise ValueError(f"data.changes.{path}", f"must be one of {', '.join(kinds(platform))}")
        members[name] = value
    return members


_JSON_NAMES: Mapping[type, str] = {str: "string", bool: "boolean"}


def kinds(platform: str) -> tuple[str, ...]:
    """The kinds of account that a platform has."""
    kinds: tuple[str, ...] = get_args(_OPENED[platform].model_fields["kind"].annotation)
    return kinds


def told(account: Account, fact: Fact) -> Account:
    """The account after one more fact, wherever in time it belongs."""
    facts = sorted((*account.facts, fact), key=_in_time)
    return known(replace(account, facts=tuple(facts)), facts)


def known_until(account: Account, end: datetime | None) -> Account:
    """The account as its facts before ``end`` tell; None takes all of them."""
    if end is None:
        return account
    return known(account, [fact for fact in account.facts if fact.time < end])


def known(account: Account, facts: Iterable[Fact]) -> Account:
    """The account's columns as these facts tell, given in their order."""
    blank = unknown(account.user_id, account.platform, account.account)
    members: dict[str, Any] = {}
    for fact in facts:
        members.update(fact.members)
        if fact.what == "opened":
            members.update(opened_at=fact.time, opened_offset=fact.log_offset)
        elif fact.what == "closed":
            members.update(closed_at=fact.time)
    return replace(blank, facts=account.facts, **members)


def unknown(user_id: str, platform: str, account: str) -> Account:
    """An account of which nothing but its name is known."""
    return Account(
        user_id=user_id,
        platform=platform,
        account=account,
        kind=None,
        currency=None,
        name=None,
        institution=None,
        holds_cash=False,
        opened_at=None,
        opened_offset=None,
        closed_at=None,
        facts=(),
    )


def _in_time(fact: Fact) -> tuple[datetime, int]:
    return fact.time, fact.log_offset

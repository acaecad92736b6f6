"""A rule as the fold sees it: the definition of a command, typed.

The members are those of the HTTP API (contract, section 6); `definition` says which values they may
have. Reading is tolerant, since a definition in the log stands for ever.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from schemas.errors import Invalid

Status = Literal["draft", "active", "paused"]
Op = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "contains"]


class Money(msgspec.Struct, frozen=True):
    amount: Decimal
    currency: str


class Transaction(
    msgspec.Struct, frozen=True, tag="transaction", rename="camel", omit_defaults=True
):
    """Fires on a posted bank posting that has all that is named."""

    account: str | None = None
    direction: Literal["credit", "debit"] | None = None
    category: str | None = None
    merchant: str | None = None
    currency: str | None = None
    min_amount: Decimal | None = None
    max_amount: Decimal | None = None


class Balance(msgspec.Struct, frozen=True, tag="balance", omit_defaults=True):
    """Fires when a posting takes the account's balance across the line."""

    account: str
    below: Decimal | None = None
    above: Decimal | None = None


class MarketCondition(msgspec.Struct, frozen=True, tag="market_condition", omit_defaults=True):
    """Fires when a tick takes the symbol's price across the line."""

    symbol: str
    below: Decimal | None = None
    above: Decimal | None = None


class TimeBased(msgspec.Struct, frozen=True, tag="time_based", omit_defaults=True):
    cron: str
    timezone: str | None = None


class PortfolioValue(msgspec.Struct, frozen=True, tag="portfolio_value", omit_defaults=True):
    currency: str
    below: Decimal | None = None
    above: Decimal | None = None


class ExternalEvent(msgspec.Struct, frozen=True, tag="external_event", omit_defaults=True):
    system: str
    name: str


Trigger = Transaction | Balance | MarketCondition | TimeBased | PortfolioValue | ExternalEvent
Crossing = Balance | MarketCondition | PortfolioValue


class Condition(msgspec.Struct, frozen=True):
    """Something about the triggering event's data that must hold."""

    field: str
    op: Op
    value: Any


class Transfer(msgspec.Struct, frozen=True, tag="transfer", omit_defaults=True):
    """Moves money; without ``from_`` out of the account that the triggering event is about."""

    to: str
    from_: str | None = msgspec.field(name="from", default=None)
    amount: Money | None = None
    percentage: Decimal | None = None


class Invest(msgspec.Struct, frozen=True, tag="invest", omit_defaults=True):
    """Buys a symbol for an amount."""

    symbol: str
    from_: str | None = msgspec.field(name="from", default=None)
    amount: Money | None = None
    percentage: Decimal | None = None


class ClosePosition(msgspec.Struct, frozen=True, tag="close_position", omit_defaults=True):
    """Sells a position, or that share of it."""

    account: str
    symbol: str
    percentage: Decimal | None = None


class Notify(msgspec.Struct, frozen=True, tag="notify", omit_defaults=True):
    message: str
    priority: Literal["low", "medium", "high", "critical"] = "medium"


class ExecuteRule(msgspec.Struct, frozen=True, tag="execute_rule", rename="camel"):
    rule_id: str


Action = Transfer | Invest | ClosePosition | Notify | ExecuteRule


class Rule(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One version of a rule."""

    name: str
    trigger: Trigger
    actions: tuple[Action, ...]
    status: Status = "active"
    conditions: tuple[Condition, ...] = ()
    requires_approval: bool = False
    cooldown_seconds: int = 0
    max_executions_per_day: int | None = None
    timezone: str | None = None
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


def read(definition: dict[str, Any]) -> Rule:
    """The rule that a definition describes; unknown members are ignored.

    Raises:
        Invalid: it describes none.
    """
    try:
        return msgspec.convert(definition, Rule)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from None


def lines(trigger: Crossing) -> list[tuple[Decimal, bool]]:
    """The lines of a trigger and whether being above it is what is waited for."""
    found = []
    if trigger.below is not None:
        found.append((trigger.below, False))
    if trigger.above is not None:
        found.append((trigger.above, True))
    return found

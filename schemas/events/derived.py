"""Events that this installation derives from others."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.events.fields import (
    Balance,
    Count,
    Currency,
    Data,
    Day,
    Free,
    Id,
    Instant,
    Money,
    Positive,
    Price,
    Text,
)

Category = Literal[
    "transfer", "transaction", "trade", "position", "kyc", "account", "alert", "system"
]
Priority = Literal["low", "medium", "high", "critical"]


class NotificationRaised(Data):
    """A notification was opened or has grown; the newest one of an id is the whole of it.

    `events` has at most the first hundred ids, `count` says how many there are.
    """

    notification: Id
    category: Category
    priority: Priority
    type: Id
    title: Text
    message: Text
    count: Positive
    totals: list[Money] = Field(default_factory=list)
    events: list[Id]
    opened_at: Instant
    updated_at: Instant
    deliver_at: Instant | None = None
    channels: list[Text] = Field(default_factory=list)


class RuleTriggered(Data):
    """A rule fired: one execution, or one that waits for approval."""

    execution: Id
    rule: Id
    rule_version: Positive
    event: Id
    outcome: Literal["triggered", "pending"]
    actions: list[Free]


class RuleSkipped(Data):
    """A rule that would have fired was held back."""

    execution: Id
    rule: Id
    rule_version: Positive
    event: Id
    reason: Literal[
        "expired", "paused", "cooldown", "daily_limit", "loop", "rejected", "approval_expired"
    ]


class RuleCrossed(Data):
    """A symbol's price crossed a market rule's line, as decided in the symbol's partition."""

    rule: Id
    rule_version: Positive
    symbol: Id
    price: Price
    previous: Price
    currency: Currency | None = None
    event: Id


class ActionRequested(Data):
    """An action handed to the platform that carries it out; which members it has is by `type`.

    `event` is the id of the event that triggered the rule.
    """

    action: Id
    execution: Id
    rule: Id
    rule_version: Positive | None = None
    event: Id | None = None
    type: Literal["transfer", "invest", "close_position", "notify", "execute_rule"]
    amount: Money | None = None
    from_: Id | None = None
    to: Id | None = None
    account: Id | None = None
    symbol: Id | None = None
    percentage: Balance | None = None
    priority: Priority | None = None
    message: Text | None = None
    rule_id: Id | None = None


class ActionDecided(Data):
    """What became of an action."""

    action: Id
    execution: Id
    rule: Id
    reason: Text | None = None


class ActionApproved(ActionDecided):
    """The person said yes."""


class ActionRejected(ActionDecided):
    """The person said no."""


class ActionCompleted(ActionDecided):
    """The platform has carried it out."""


class ActionFailed(ActionDecided):
    """The platform could not carry it out; `reason` says why."""


class SnapshotTaken(Data):
    """A person's net worth at a moment, decided once and written down."""

    day: Day
    currency: Currency
    net_worth: Balance
    assets: Balance
    liabilities: Balance
    by_category: dict[str, Balance] = Field(default_factory=dict)


class GoalReached(Data):
    """A person's net worth reached what they had set themselves."""

    goal: Id
    target: Money
    net_worth: Money


class ConflictDetected(Data):
    """Two systems say different things of one aggregate."""

    conflict: Id
    aggregate: Id
    kind: Text
    field: Text
    ours: Text | None = None
    theirs: Text | None = None
    base_version: Count | None = None
    events: list[Id] = Field(default_factory=list)


class ConflictResolved(Data):
    """Somebody or some rule decided which one holds."""

    conflict: Id
    resolution: Text
    value: Text | None = None

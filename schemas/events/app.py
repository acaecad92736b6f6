"""Commands: what people do in the front-ends of this installation and that must survive.

A command applies to what is appended after it, by the records' timestamps, and for a partition that
`effective` names from that offset on (`{"bfc.ledger:3": 1042}`).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from schemas.errors import Invalid
from schemas.events.derived import Priority
from schemas.events.fields import (
    Amount,
    Count,
    Currency,
    Data,
    Free,
    Id,
    Positive,
    Scalar,
    Text,
)

Effective = dict[str, Count]

_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")


def _clock(text: str) -> str:
    if _CLOCK.fullmatch(text) is None:
        raise Invalid("must be a time of day such as 22:00")
    return text


#: A wall-clock time, `00:00` to `23:59`.
TimeOfDay = Annotated[
    str,
    Scalar(
        "time of day",
        _clock,
        str,
        str,
        (("type", "string"), ("pattern", "^([01][0-9]|2[0-3]):[0-5][0-9]$")),
    ),
]


class NotificationRead(Data):
    """The person has read one notification, as it was when `count` events were in it.

    Without `count`: what was in the log before this command.
    """

    notification: Id
    count: Positive | None = None


class NotificationsRead(Data):
    """The person has read everything that was raised until this takes effect."""

    effective: Effective = Field(default_factory=dict)


class QuietHours(Data):
    """Wall-clock times in the person's time zone; `from` later than `to` spans midnight."""

    from_: TimeOfDay
    to: TimeOfDay


class CategoryPreferences(Data):
    """How notifications of one category reach the person."""

    enabled: bool = True
    delivery: Literal["immediate", "hourly", "daily"] = "immediate"
    minimum_priority: Priority = "low"
    channels: list[Text] = Field(default_factory=lambda: ["inApp"])


class CategoriesPreferences(Data):
    """Preferences by category; one that is left out has the defaults."""

    transfer: CategoryPreferences | None = None
    transaction: CategoryPreferences | None = None
    trade: CategoryPreferences | None = None
    position: CategoryPreferences | None = None
    kyc: CategoryPreferences | None = None
    account: CategoryPreferences | None = None
    alert: CategoryPreferences | None = None
    system: CategoryPreferences | None = None


class Preferences(Data):
    """All preferences of a person; what is left out has its default."""

    timezone: Text | None = None
    base_currency: Currency | None = None
    quiet_hours: QuietHours | None = None
    #: Currency -> the smallest debit that is a large one.
    large_debit: dict[str, Amount] = Field(default_factory=dict)
    categories: CategoriesPreferences = Field(default_factory=CategoriesPreferences)


class PreferencesChanged(Data):
    """The person's preferences are these from now on (the whole, not the difference)."""

    preferences: Preferences
    effective: Effective = Field(default_factory=dict)


class RuleDefined(Data):
    """A version of a rule, with its whole definition as the HTTP API takes it."""

    rule: Id
    version: Positive
    definition: Free
    effective: Effective = Field(default_factory=dict)


class RuleCreated(RuleDefined):
    """The first version of a rule."""


class RuleChanged(RuleDefined):
    """A later version of a rule."""


class RuleDeleted(Data):
    """The rule is no more."""

    rule: Id
    effective: Effective = Field(default_factory=dict)


class RuleTested(Data):
    """The person tried the rule without effect."""

    rule: Id


class RuleActivated(Data):
    """The rule became active; said beside the creation or change that did it."""

    rule: Id


class FunnelDefined(Data):
    """The funnel of that name is this from now on; definitions are shared by all."""

    name: Id
    definition: Free


class FunnelRemoved(Data):
    """The funnel of that name is no more."""

    name: Id


class TimerFired(Data):
    """A timer of a projection came due; the event's time is the time it was due."""

    timer: Id
    projection: Id
    payload: Free

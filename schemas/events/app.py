"""Commands: what people do in the front-ends of this installation and that must survive.

`effective` says from which offset of each partition a command applies (`{"bfc.ledger:3": 1042}`);
for a partition that it does not name, the records' timestamps decide.
"""

from __future__ import annotations

from pydantic import Field

from schemas.events.fields import Count, Currency, Data, Free, Id, Limit, Positive, Text

Effective = dict[str, Count]


class NotificationRead(Data):
    """The person has read one notification."""

    notification: Id


class NotificationsRead(Data):
    """The person has read everything that was raised until this takes effect."""

    effective: Effective = Field(default_factory=dict)


class QuietHours(Data):
    """Wall-clock times `HH:MM` in the person's time zone; `from` later than `to` spans midnight."""

    from_: Text
    to: Text


class Preferences(Data):
    """All preferences of a person; what is left out has its default."""

    timezone: Text | None = None
    base_currency: Currency | None = None
    quiet_hours: QuietHours | None = None
    large_debit: dict[str, Limit] = Field(default_factory=dict)
    categories: dict[str, Free] = Field(default_factory=dict)


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

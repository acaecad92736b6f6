"""All types of events: (name, version) -> model and topic.

One type has two versions: `bfc.kyc.submitted` (v1: `fields`; v2: `applicant` and `documents`).
Both are accepted; readers see only the newest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from schemas import topics
from schemas.compiled import Compiled, compile_model
from schemas.events import app, bank, derived, external, journey, market, trading
from schemas.events.fields import Data
from schemas.topics import Topic


@dataclass(frozen=True)
class EventType:
    """One version of one type: its data and the topic it travels on."""

    name: str
    version: int
    model: type[Data]
    topic: Topic

    @property
    def full_name(self) -> str:
        """The name as it travels: `bfc.transaction.posted.v1`."""
        return f"{self.name}.v{self.version}"

    @cached_property
    def compiled(self) -> Compiled:
        """The fast form of the model."""
        return compile_model(self.model)


_LIST: tuple[tuple[Topic, str, int, type[Data]], ...] = (
    (topics.BFC_LEDGER, "bfc.account.opened", 1, bank.AccountOpened),
    (topics.BFC_LEDGER, "bfc.account.updated", 1, bank.AccountUpdated),
    (topics.BFC_LEDGER, "bfc.account.closed", 1, bank.AccountClosed),
    (topics.BFC_LEDGER, "bfc.transaction.posted", 1, bank.TransactionPosted),
    (topics.BFC_TRANSFERS, "bfc.transfer.initiated", 1, bank.TransferInitiated),
    (topics.BFC_TRANSFERS, "bfc.transfer.authenticated", 1, bank.TransferAuthenticated),
    (topics.BFC_TRANSFERS, "bfc.transfer.completed", 1, bank.TransferCompleted),
    (topics.BFC_TRANSFERS, "bfc.transfer.failed", 1, bank.TransferFailed),
    (topics.BFC_KYC, "bfc.kyc.submitted", 1, bank.KycSubmitted1),
    (topics.BFC_KYC, "bfc.kyc.submitted", 2, bank.KycSubmitted),
    (topics.BFC_KYC, "bfc.kyc.approved", 1, bank.KycApproved),
    (topics.BFC_KYC, "bfc.kyc.rejected", 1, bank.KycRejected),
    (topics.BFC_KYC, "bfc.kyc.updated", 1, bank.KycUpdated),
    (topics.VYOMO_ORDERS, "vyomo.order.placed", 1, trading.OrderPlaced),
    (topics.VYOMO_ORDERS, "vyomo.order.confirmed", 1, trading.OrderConfirmed),
    (topics.VYOMO_ORDERS, "vyomo.order.cancelled", 1, trading.OrderCancelled),
    (topics.VYOMO_ORDERS, "vyomo.order.rejected", 1, trading.OrderRejected),
    (topics.VYOMO_LEDGER, "vyomo.account.opened", 1, trading.TradingAccountOpened),
    (topics.VYOMO_LEDGER, "vyomo.account.updated", 1, bank.AccountUpdated),
    (topics.VYOMO_LEDGER, "vyomo.account.closed", 1, bank.AccountClosed),
    (topics.VYOMO_LEDGER, "vyomo.trade.executed", 1, trading.TradeExecuted),
    (topics.VYOMO_LEDGER, "vyomo.dividend.paid", 1, trading.DividendPaid),
    (topics.VYOMO_LEDGER, "vyomo.split.applied", 1, trading.SplitApplied),
    (topics.VYOMO_LEDGER, "vyomo.position.reported", 1, trading.PositionReported),
    (topics.MARKET_PRICES, "market.price.ticked", 1, market.PriceTicked),
    (topics.MARKET_FX, "market.fx.fixed", 1, market.FxFixed),
    (topics.JOURNEYS, "journey.step.recorded", 1, journey.StepRecorded),
    (topics.EXTERNAL, "external.event.received", 1, external.EventReceived),
    (topics.APP_COMMANDS, "app.notification.read", 1, app.NotificationRead),
    (topics.APP_COMMANDS, "app.notifications.read", 1, app.NotificationsRead),
    (topics.APP_COMMANDS, "app.preferences.changed", 1, app.PreferencesChanged),
    (topics.APP_COMMANDS, "app.rule.created", 1, app.RuleCreated),
    (topics.APP_COMMANDS, "app.rule.changed", 1, app.RuleChanged),
    (topics.APP_COMMANDS, "app.rule.deleted", 1, app.RuleDeleted),
    (topics.APP_COMMANDS, "app.rule.tested", 1, app.RuleTested),
    (topics.APP_COMMANDS, "app.rule.activated", 1, app.RuleActivated),
    (topics.APP_COMMANDS, "app.funnel.defined", 1, app.FunnelDefined),
    (topics.APP_COMMANDS, "app.funnel.removed", 1, app.FunnelRemoved),
    (topics.APP_COMMANDS, "app.timer.fired", 1, app.TimerFired),
    (topics.NOTIFICATIONS, "notification.raised", 1, derived.NotificationRaised),
    (topics.RULES_TRIGGERED, "rule.triggered", 1, derived.RuleTriggered),
    (topics.RULES_TRIGGERED, "rule.skipped", 1, derived.RuleSkipped),
    (topics.RULES_TRIGGERED, "rule.crossed", 1, derived.RuleCrossed),
    (topics.ACTIONS, "action.requested", 1, derived.ActionRequested),
    (topics.ACTIONS, "action.approved", 1, derived.ActionApproved),
    (topics.ACTIONS, "action.rejected", 1, derived.ActionRejected),
    (topics.ACTIONS, "action.completed", 1, derived.ActionCompleted),
    (topics.ACTIONS, "action.failed", 1, derived.ActionFailed),
    (topics.WEALTH, "wealth.snapshot.taken", 1, derived.SnapshotTaken),
    (topics.WEALTH, "wealth.goal.reached", 1, derived.GoalReached),
    (topics.SYNC_CONFLICTS, "sync.conflict.detected", 1, derived.ConflictDetected),
    (topics.SYNC_CONFLICTS, "sync.conflict.resolved", 1, derived.ConflictResolved),
)

#: Full name (`bfc.transaction.posted.v1`) -> type.
TYPES: dict[str, EventType] = {
    f"{name}.v{version}": EventType(name, version, model, topic)
    for topic, name, version, model in _LIST
}

#: Name without version -> the newest version's type.
NEWEST: dict[str, EventType] = {
    event_type.name: event_type
    for event_type in sorted(TYPES.values(), key=lambda each: each.version)
}


def event_type(full_name: str) -> EventType:
    """The type of that full name; raises KeyError."""
    return TYPES[full_name]


def types_of(topic: str) -> tuple[EventType, ...]:
    """The types that travel on a topic, all versions."""
    return tuple(each for each in TYPES.values() if each.topic.name == topic)

"""Which domain event is the same thing as a journey event with an action (contract, Funnels)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from schemas.envelope import Event
from schemas.events.bank import TransactionPosted
from schemas.events.trading import TradeExecuted

JOURNEY = "journey.step.recorded"


def _always(event: Event) -> bool:
    return True


def _is_posted_credit(event: Event) -> bool:
    data: TransactionPosted = event.data
    return data.direction == "credit" and data.status == "posted"


def _is_buy(event: Event) -> bool:
    data: TradeExecuted = event.data
    return data.side == "buy"


class Same(NamedTuple):
    """A domain event that counts as the action, where ``holds`` says so."""

    action: str
    holds: Callable[[Event], bool] = _always


#: Event type (without version) -> the action that it is.
SAME_AS: dict[str, Same] = {
    "bfc.kyc.submitted": Same("kyc_upload"),
    "bfc.kyc.approved": Same("kyc_approved"),
    "bfc.transaction.posted": Same("first_deposit", _is_posted_credit),
    "vyomo.order.placed": Same("place_order"),
    "vyomo.order.confirmed": Same("order_confirmed"),
    "vyomo.trade.executed": Same("position_opened", _is_buy),
    "bfc.transfer.initiated": Same("initiate_transfer"),
    "bfc.transfer.authenticated": Same("authenticate"),
    "bfc.transfer.completed": Same("transfer_complete"),
    "app.rule.created": Same("create_rule"),
    "app.rule.tested": Same("test_rule"),
    "app.rule.activated": Same("activate_rule"),
}


def action_of(event: Event) -> str | None:
    """The action that a domain event equals, or None."""
    same = SAME_AS.get(event.type)
    return same.action if same is not None and same.holds(event) else None

"""What an event says to its person, before anything is grouped or held: a notice, or nothing.

One small case per event type; the texts of a single notice are here, those of several together
in `wording`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from urllib.parse import quote

import msgspec

from projections.amounts import shown
from projections.notifications.settings import NotificationSettings
from projections.notifications.tables import Link
from projections.preferences.versions import Preferences
from schemas.envelope import Event
from schemas.events.bank import (
    AccountClosed,
    AccountOpened,
    AccountUpdated,
    KycStep,
    TransactionPosted,
    Transfer,
)
from schemas.events.derived import ActionRequested
from schemas.events.trading import Order, PositionReported, TradeExecuted
from schemas.numbers import EXACT, plain

#: Characters of a name or text from an event inside a message, and of a whole rule's message.
NAME_LENGTH_MAX = 80
TEXT_LENGTH_MAX = 1_000


class Notice(msgspec.Struct, frozen=True):
    """One event's news; ``amount`` counts into the totals."""

    kind: str
    category: str
    title: str
    message: str
    links: list[Link]
    amount: Decimal | None = None
    currency: str = ""
    #: The id to list: the event's own, or that of what caused an alert.
    event: str = ""
    #: Of an alert: what the rule says.
    priority: str | None = None


Say = Callable[[Event, Preferences], Notice | None]


def notice_of(event: Event, preferences: Preferences) -> Notice | None:
    """What this event says; None if it raises nothing.

    Reported positions are not here: whether one differs hangs on the trades before it.
    """
    say = _SAY.get(event.type)
    return say(event, preferences) if say else None


def category_of(event: Event) -> str | None:
    """The category of what this event may say; None if it surely says nothing.

    Of reported positions, too, most of which say nothing: that they differ is found in the fold.
    """
    if event.type == "bfc.transaction.posted":
        return "transaction" if _is_news(event.data) else None
    return _CATEGORIES.get(event.type)


def priority_of(notice: Notice, settings: NotificationSettings) -> str:
    return notice.priority or settings.priorities[notice.kind]


def _transfer_completed(event: Event, _: Preferences) -> Notice:
    data: Transfer = event.data
    amount = shown(data.amount, data.currency)
    return Notice(
        kind="transfer_completed",
        category="transfer",
        title="Transfer completed",
        message=f"{amount} has arrived at {_name(data.to_account)}",
        links=[Link("View transfer", f"/transfers/{_path(data.transfer)}")],
        amount=data.amount,
        currency=data.currency,
    )


def _transfer_failed(event: Event, _: Preferences) -> Notice:
    data: Transfer = event.data
    amount = shown(data.amount, data.currency)
    return Notice(
        kind="transfer_failed",
        category="transfer",
        title="Transfer failed",
        message=f"{amount} to {_name(data.to_account)} was not transferred"
        + _because(data.failure),
        links=[
            Link("View transfer", f"/transfers/{_path(data.transfer)}"),
            Link("Try again", f"/transfers/new?again={_path(data.transfer)}"),
        ],
        amount=data.amount,
        currency=data.currency,
    )


def _is_news(data: TransactionPosted) -> bool:
    # A pending posting is news when it is posted; one of a transfer is told by the transfer.
    return data.status == "posted" and data.transfer is None


def _transaction(event: Event, preferences: Preferences) -> Notice | None:
    data: TransactionPosted = event.data
    if not _is_news(data):
        return None
    debit = data.direction == "debit"
    threshold = preferences.large_debit.get(data.currency)
    large = debit and threshold is not None and data.amount >= threshold
    amount, account = shown(data.amount, data.currency), _name(data.account)
    other = data.merchant or data.counterparty or data.description
    if data.reverses is not None:
        tail = f", reversing {_name(data.reverses)}"
    elif other:
        tail = f" {'to' if debit else 'from'} {_name(other)}"
    else:
        tail = ""
    title = "Large debit" if large else "Money out" if debit else "Money in"
    moved = f"left {account}" if debit else f"arrived in {account}"
    return Notice(
        kind="large_debit" if large else "transaction",
        category="transaction",
        title=title,
        message=f"{amount} {moved}{tail}",
        links=[Link("View transaction", f"/transactions/{_path(data.transaction)}")],
        amount=data.amount,
        currency=data.currency,
    )


def _trade(event: Event, _: Preferences) -> Notice:
    data: TradeExecuted = event.data
    amount = EXACT.multiply(data.quantity, data.price)
    verb = "Bought" if data.side == "buy" else "Sold"
    return Notice(
        kind="trade_executed",
        category="trade",
        title="Trade executed",
        message=f"{verb} {plain(data.quantity)} {_name(data.symbol)}"
        f" for {shown(amount, data.currency)}",
        links=[Link("View position", f"/portfolio/{_path(data.account)}/{_path(data.symbol)}")],
        amount=amount,
        currency=data.currency,
    )


def _order_rejected(event: Event, _: Preferences) -> Notice:
    data: Order = event.data
    return Notice(
        kind="order_rejected",
        category="trade",
        title="Order rejected",
        message=f"The order to {data.side} {plain(data.quantity)} {_name(data.symbol)}"
        " was rejected",
        links=[Link("View order", f"/orders/{_path(data.order)}")],
    )


def position_differs(event: Event, ours: Decimal) -> Notice:
    """The platform reports another quantity than the trades add up to."""
    data: PositionReported = event.data
    return Notice(
        kind="position_differs",
        category="position",
        title="Reported position differs",
        message=f"{_name(data.account)} reports {plain(data.quantity)} {_name(data.symbol)},"
        f" the trades add up to {plain(ours)}",
        links=[Link("View position", f"/portfolio/{_path(data.account)}/{_path(data.symbol)}")],
    )


def _kyc(kind: str, title: str) -> Say:
    def say(event: Event, _: Preferences) -> Notice:
        data: KycStep = event.data
        again = [Link("Submit again", "/kyc/submit")] if kind == "kyc_rejected" else []
        return Notice(
            kind=kind,
            category="kyc",
            title=title,
            message=f"{title} (level {_name(data.level)})" + _because(data.reason),
            links=[Link("View identity check", "/kyc"), *again],
        )

    return say


def _account_opened(event: Event, _: Preferences) -> Notice:
    data: AccountOpened = event.data
    kind = data.kind.replace("_", " ").capitalize()
    return Notice(
        kind="account_opened",
        category="account",
        title="Account opened",
        message=f"{kind} account {_name(data.name or data.account)} is open ({data.currency})",
        links=[_account(data.account)],
    )


def _account_updated(event: Event, _: Preferences) -> Notice:
    data: AccountUpdated = event.data
    fields = ", ".join(sorted(data.changes))
    return Notice(
        kind="account_updated",
        category="account",
        title="Account updated",
        message=f"Account {_name(data.account)} has changed"
        + (f": {_name(fields)}" if fields else ""),
        links=[_account(data.account)],
    )


def _account_closed(event: Event, _: Preferences) -> Notice:
    data: AccountClosed = event.data
    return Notice(
        kind="account_closed",
        category="account",
        title="Account closed",
        message=f"Account {_name(data.account)} is closed" + _because(data.reason),
        links=[_account(data.account)],
    )


def _alert(event: Event, _: Preferences) -> Notice | None:
    data: ActionRequested = event.data
    if data.type != "notify":
        return None
    return Notice(
        kind="alert",
        category="alert",
        title="Alert",
        message=_clipped(data.message or "A rule of yours fired", TEXT_LENGTH_MAX),
        links=[Link("View rule", f"/auto-actions/rules/{_path(data.rule)}")],
        event=data.event or event.causation_id or event.id,
        priority=data.priority,
    )


_SAY: Mapping[str, Say] = {
    "bfc.transfer.completed": _transfer_completed,
    "bfc.transfer.failed": _transfer_failed,
    "bfc.transaction.posted": _transaction,
    "bfc.kyc.submitted": _kyc("kyc_submitted", "Identity check submitted"),
    "bfc.kyc.approved": _kyc("kyc_approved", "Identity check approved"),
    "bfc.kyc.rejected": _kyc("kyc_rejected", "Identity check rejected"),
    "bfc.kyc.updated": _kyc("kyc_updated", "Identity check updated"),
    "bfc.account.opened": _account_opened,
    "bfc.account.updated": _account_updated,
    "bfc.account.closed": _account_closed,
    "vyomo.account.opened": _account_opened,
    "vyomo.account.updated": _account_updated,
    "vyomo.account.closed": _account_closed,
    "vyomo.order.rejected": _order_rejected,
    "vyomo.trade.executed": _trade,
    "action.requested": _alert,
}

#: Of what each of them says.
_CATEGORIES: Mapping[str, str] = {
    "bfc.transfer.completed": "transfer",
    "bfc.transfer.failed": "transfer",
    "bfc.transaction.posted": "transaction",
    "bfc.kyc.submitted": "kyc",
    "bfc.kyc.approved": "kyc",
    "bfc.kyc.rejected": "kyc",
    "bfc.kyc.updated": "kyc",
    "bfc.account.opened": "account",
    "bfc.account.updated": "account",
    "bfc.account.closed": "account",
    "vyomo.account.opened": "account",
    "vyomo.account.updated": "account",
    "vyomo.account.closed": "account",
    "vyomo.order.rejected": "trade",
    "vyomo.trade.executed": "trade",
    "vyomo.position.reported": "position",
    "action.requested": "alert",
}

#: The event types that may raise a notification by themselves.
NOTICE_TYPES = frozenset(_SAY)


def _account(account: str) -> Link:
    return Link("View account", f"/accounts/{_path(account)}")


def _because(reason: str | None) -> str:
    return f": {_clipped(reason, NAME_LENGTH_MAX * 2)}" if reason else ""


def _name(text: str) -> str:
    return _clipped(text, NAME_LENGTH_MAX)


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _path(text: str) -> str:
    return text if _is_unreserved(text) else quote(text, safe="")


#: What `quote` leaves as it is: most ids.
_is_unreserved = re.compile("[A-Za-z0-9_.~-]*").fullmatch

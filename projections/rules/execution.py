"""What becomes of a rule whose trigger and conditions an event has met: one execution."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from projections.amounts import shown
from projections.preferences.clock import day_of
from projections.preferences.versions import DEFAULT_ZONE, zone_of
from projections.preferences.versions import in_force as latest_in_force
from projections.rows import Rows
from projections.rules.bodies import message_length_max
from projections.rules.matching import member
from projections.rules.rule import Action, ClosePosition, Invest, Notify, Rule, Transfer
from projections.rules.tables import (
    EXECUTIONS,
    FIRINGS,
    TIME_ZONES,
    Execution,
    Firing,
    RuleVersion,
)
from projections.tables import Want
from schemas.envelope import Draft, Event, derived_id
from schemas.numbers import EXACT, money, plain, round_money

NAME = "rules"
VERSION = 1
SOURCE = "/streams/rules"

_MILLISECOND = timedelta(milliseconds=1)
#: No day of any time zone is longer.
_DAY_MAX = timedelta(hours=26)

_PLACEHOLDER = re.compile(r"\{([A-Za-z][A-Za-z0-9_.]*)\}")


class Cause(NamedTuple):
    """What set a rule off.

    ``event`` is the one that is folded, ``source_id`` the id of the source event that people
    know: the same, or the tick behind a crossing. ``data`` is as on the wire; ``amount``,
    ``currency`` and ``account`` are those of the posting, None where there is none; ``balance``
    is the one that crossed a line.
    """

    event: Event
    source_id: str
    data: Mapping[str, Any]
    amount: Decimal | None = None
    currency: str | None = None
    account: str | None = None
    balance: Decimal | None = None


def execute(rows: Rows, version: RuleVersion, cause: Cause) -> None:
    """Record the one execution of this version for this cause, and derive what follows from it."""
    rule = version.rule
    assert rule is not None
    event = cause.event
    execution = execution_id(version, event)
    reason = _held_back(rows, version, rule, event)
    outcome = "skipped" if reason else "pending" if rule.requires_approval else "triggered"
    actions = tuple(_planned(rule, cause, execution, outcome))
    rows.put(
        EXECUTIONS,
        Execution(
            user_id=version.user_id,
            execution=execution,
            rule_id=version.rule_id,
            version=version.version,
            event=cause.source_id,
            time=event.time,
            outcome=outcome,
            reason=reason,
            actions=actions,
        ),
    )
    facts = {
        "execution": str(execution),
        "rule": version.rule_id,
        "ruleVersion": version.version,
        "event": cause.source_id,
    }
    if reason:
        data = {**facts, "reason": reason}
        rows.emit(derived("rule.skipped.v1", event, data, version.user_id, version.rule_id))
        return
    rows.put(FIRINGS, _firing(version, event, execution))
    data = {**facts, "outcome": outcome, "actions": list(actions)}
    rows.emit(derived("rule.triggered.v1", event, data, version.user_id, version.rule_id))
    for action in actions:
        if action["status"] == "requested":
            data = {**facts, **{name: value for name, value in action.items() if name != "status"}}
            rows.emit(
                derived("action.requested.v1", event, data, version.user_id, action["action"])
            )


def execution_id(version: RuleVersion, event: Event) -> UUID:
    """The id of the only execution that this version can have for this event."""
    owner = f"{version.user_id}\0{version.rule_id}"
    return UUID(derived_id("rule execution", version.version, event, owner))


def derived(type: str, event: Event, data: dict[str, Any], user_id: str, subject: str) -> Draft:
    """An event that follows from ``event``; one per type, person and subject."""
    return Draft(
        type=type,
        source=SOURCE,
        data=data,
        time=event.time,
        user_id=user_id,
        subject=subject,
        id=derived_id(NAME, VERSION, event, f"{type}\0{user_id}\0{data.get('action', subject)}"),
        tenant_id=event.tenant_id,
        correlation_id=event.correlation_id or event.id,
        causation_id=event.id,
    )


def firings_wanted(version: RuleVersion, event: Event) -> Want | None:
    """The earlier executions that ``execute`` may count, in whatever time zone days begin."""
    rule = version.rule
    if rule is None or not (rule.cooldown_seconds or rule.max_executions_per_day):
        return None
    span = timedelta(seconds=rule.cooldown_seconds)
    if rule.max_executions_per_day:
        span = max(span, _DAY_MAX)
    return Want(FIRINGS, _firings_of(version, event), event.time - span, event.time + span)


def _held_back(rows: Rows, version: RuleVersion, rule: Rule, event: Event) -> str | None:
    """The first reason that keeps the rule from firing, in the contract's order."""
    if rule.expires_at is not None and event.time >= rule.expires_at:
        return "expired"
    if rule.status == "paused":
        return "paused"
    firings = _firings_of(version, event)
    if rule.cooldown_seconds:
        # At exactly the cooldown's distance it fires again.
        near = timedelta(seconds=rule.cooldown_seconds) - _MILLISECOND
        if rows.range(FIRINGS, firings, event.time - near, event.time + near):
            return "cooldown"
    if rule.max_executions_per_day is not None:
        day = day_of(event.time, _zone(rows, version.user_id, rule, event))
        today = rows.range(FIRINGS, firings, day.start, day.end - _MILLISECOND)
        if len(today) >= rule.max_executions_per_day:
            return "daily_limit"
    return None


def _zone(rows: Rows, user_id: str, rule: Rule, event: Event) -> ZoneInfo:
    if rule.timezone is not None:
        return zone_of(rule.timezone)
    chosen = latest_in_force(rows.find(TIME_ZONES, user_id), event)
    return zone_of(chosen.timezone if chosen else DEFAULT_ZONE)


def _firings_of(version: RuleVersion, event: Event) -> tuple[str, str, str]:
    return version.user_id, version.rule_id, event.position.topic


def _firing(version: RuleVersion, event: Event, execution: UUID) -> Firing:
    time: datetime = event.time
    return Firing(*_firings_of(version, event), time=time, execution=execution)


def _planned(rule: Rule, cause: Cause, execution: UUID, outcome: str) -> list[dict[str, Any]]:
    """The actions as the execution lists them: wire names, what to do, and what became of it."""
    status = {"triggered": "requested"}.get(outcome, outcome)
    message_amount = _first_amount(rule, cause)
    planned = []
    for number, action in enumerate(rule.actions):
        details = _details(rule, action, cause, message_amount)
        entry = {
            "action": derived_id("rule action", number, str(execution)),
            "type": action.__struct_config__.tag,
            "status": status,
            **{name: value for name, value in details.items() if value is not None},
        }
        if _moves_nothing(action, entry):
            entry["status"] = "skipped"
        planned.append(entry)
    return planned


def _moves_nothing(action: Action, entry: Mapping[str, Any]) -> bool:
    """Whether there is nothing to hand over: a share that rounds to nothing, or money that is
    where it should go already."""
    if not isinstance(action, Transfer | Invest):
        return False
    return "amount" not in entry or entry.get("from") == entry.get("to")


def _details(
    rule: Rule, action: Action, cause: Cause, message_amount: str | None
) -> dict[str, Any]:
    match action:
        case Transfer():
            return {
                "from": action.from_ or cause.account,
                "to": action.to,
                **_money(action, cause),
            }
        case Invest():
            return {
                "from": action.from_ or cause.account,
                "symbol": action.symbol,
                **_money(action, cause),
            }
        case ClosePosition():
            share = action.percentage if action.percentage is not None else Decimal(100)
            return {
                "account": action.account,
                "symbol": action.symbol,
                "percentage": plain(share),
            }
        case Notify():
            message = _filled(action.message, rule, cause, message_amount)
            return {"priority": action.priority, "message": message}
    return {}


def _money(action: Transfer | Invest, cause: Cause) -> dict[str, Any]:
    amount = _amount(action, cause)
    share = None if action.percentage is None else plain(action.percentage)
    if amount is None:
        return {"percentage": share}
    value, currency = amount
    return {
        "percentage": share,
        "amount": {"amount": money(value, currency), "currency": currency},
    }


def _amount(action: Transfer | Invest, cause: Cause) -> tuple[Decimal, str] | None:
    """What an action moves, rounded; None if that is nothing."""
    if action.amount is not None:
        return action.amount.amount, action.amount.currency
    if action.percentage is None or cause.amount is None or cause.currency is None:
        return None
    share = EXACT.scaleb(EXACT.multiply(cause.amount, action.percentage), -2)
    rounded = round_money(share, cause.currency)
    return (rounded, cause.currency) if rounded else None


def _first_amount(rule: Rule, cause: Cause) -> str | None:
    """What ``{amount}`` stands for: what the rule moves first, else what the event moved."""
    for action in rule.actions:
        if isinstance(action, Transfer | Invest) and (amount := _amount(action, cause)):
            return shown(*amount)
    if cause.amount is not None and cause.currency is not None:
        return shown(cause.amount, cause.currency)
    return None


def _filled(message: str, rule: Rule, cause: Cause, amount: str | None) -> str:
    """The message with its placeholders filled in; one that means nothing here stays as it is."""
    ours: dict[str, str | None] = {"amount": amount, "rule": rule.name}
    if cause.balance is not None and cause.currency is not None:
        ours["balance"] = shown(cause.balance, cause.currency)

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        value = ours[name] if ours.get(name) else member(cause.data, name)
        if isinstance(value, str):
            return value
        return str(value) if type(value) is int else match[0]

    return _PLACEHOLDER.sub(fill, message)[:message_length_max]

"""Whether a rule that somebody sends is one, said field by field; and what it bears on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from projections.rules import bodies
from projections.rules.bodies import ACTIONS, LATER, TRIGGERS, ConditionBody, Part, RuleBody
from projections.rules.rule import (
    Balance,
    ClosePosition,
    Invest,
    MarketCondition,
    Rule,
    Transaction,
    Transfer,
    read,
)
from schemas.careful import validated
from schemas.envelope import wire
from schemas.errors import FieldError, Invalid, reason
from schemas.events.fields import json_kind
from schemas.limits import text_length_max

P = TypeVar("P", bound=Part)

#: What an answer has beside what was posted: somebody who sends an answer back may leave it in.
_ANSWERED = frozenset({"id", "version", "createdAt", "updatedAt"})

_ORDERED = frozenset({"gt", "gte", "lt", "lte"})


class InvalidRule(Invalid):
    """A request does not describe a rule; `errors` lists everything that is wrong with it.

    Paths are dotted camelCase (`actions.0.percentage`), empty for the whole.
    """

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__(reason(self.errors))


def parse(body: object) -> dict[str, Any]:
    """The definition that a request's body stands for: what was posted, defaults filled in.

    It is what the commands carry as `definition` and what the answers show.

    Raises:
        InvalidRule: everything that is wrong with it.
    """
    if not isinstance(body, Mapping):
        raise InvalidRule([FieldError("", f"must be a JSON object, not {json_kind(body)}")])
    errors: list[FieldError] = []
    given = {name: value for name, value in body.items() if name not in _ANSWERED}
    whole = validated(RuleBody, given, "", errors)
    trigger = _trigger(given.get("trigger"), errors)
    conditions = _listed(given.get("conditions"), "conditions", _condition, errors)
    actions = _listed(given.get("actions"), "actions", _action, errors)
    if trigger is not None:
        for number, action in enumerate(actions):
            errors += _misfits(trigger, action, f"actions.{number}")
    if errors or whole is None or trigger is None:
        raise InvalidRule(errors)
    # In the order of the contract.
    return {
        "name": whole.name,
        "status": whole.status,
        "trigger": wire(trigger),
        "conditions": [wire(condition) for condition in conditions],
        "actions": [wire(action) for action in actions],
        "requiresApproval": whole.requires_approval,
        "cooldownSeconds": whole.cooldown_seconds,
        "maxExecutionsPerDay": whole.max_executions_per_day,
        "timezone": whole.timezone,
        "expiresAt": wire(whole.expires_at),
    }


def rule_of(definition: Mapping[str, Any]) -> Rule:
    """The rule of a definition that a command carries.

    Raises:
        InvalidRule: the definition is none that `parse` would have made.
    """
    return read(parse(definition))


def bearing_topics(definition: Mapping[str, Any], user_id: str) -> frozenset[tuple[str, str]]:
    """(topic, key) of the partitions whose events the rule meets.

    The command that creates, changes or deletes a rule names the ends of these partitions in its
    `effective`; a change those of the old and of the new definition, for it ends the old one, too.
    A crossing names the version that it was decided with, so that `rules.triggered` is not needed.
    """
    trigger = rule_of(definition).trigger
    if isinstance(trigger, MarketCondition):
        return frozenset({("market.prices", trigger.symbol)})
    if isinstance(trigger, Transaction | Balance):
        return frozenset({("bfc.ledger", user_id)})
    return frozenset()


def own_accounts(definition: Mapping[str, Any]) -> dict[str, str]:
    """Path -> account, for those that must be the person's: money or positions leave them, or
    they are watched. Where money goes may be anybody's."""
    rule = rule_of(definition)
    found: dict[str, str] = {}
    if isinstance(rule.trigger, Transaction | Balance) and rule.trigger.account is not None:
        found["trigger.account"] = rule.trigger.account
    for number, action in enumerate(rule.actions):
        if isinstance(action, Transfer | Invest) and action.from_ is not None:
            found[f"actions.{number}.from"] = action.from_
        elif isinstance(action, ClosePosition):
            found[f"actions.{number}.account"] = action.account
    return found


def _trigger(value: object, errors: list[FieldError]) -> Part | None:
    trigger = _of_type(value, "trigger", TRIGGERS, errors)
    if isinstance(trigger, bodies.BalanceBody | bodies.MarketConditionBody) and (
        (trigger.below is None) == (trigger.above is None)
    ):
        errors.append(FieldError("trigger", "must name one of below and above"))
    if isinstance(trigger, bodies.TransactionBody):
        low, high = trigger.min_amount, trigger.max_amount
        if low is not None and high is not None and low > high:
            errors.append(FieldError("trigger.maxAmount", "must not be below minAmount"))
    return trigger


def _action(value: object, path: str, errors: list[FieldError]) -> Part | None:
    action = _of_type(value, path, ACTIONS, errors)
    if isinstance(action, bodies.TransferBody | bodies.InvestBody) and (
        (action.amount is None) == (action.percentage is None)
    ):
        errors.append(FieldError(path, "must name one of amount and percentage"))
    if isinstance(action, bodies.TransferBody) and action.from_ == action.to:
        errors.append(FieldError(f"{path}.to", "is where the money comes from"))
    return action


def _misfits(trigger: Part, action: Part, path: str) -> list[FieldError]:
    """What an action asks for that a price does not have: an amount, an account."""
    misfits: list[FieldError] = []
    if isinstance(trigger, bodies.MarketConditionBody) and isinstance(
        action, bodies.TransferBody | bodies.InvestBody
    ):
        if action.percentage is not None:
            message = "needs a trigger with an amount; name an amount instead"
            misfits.append(FieldError(f"{path}.percentage", message))
        if action.from_ is None:
            misfits.append(FieldError(f"{path}.from", "is required with this trigger"))
    return misfits


def _condition(value: object, path: str, errors: list[FieldError]) -> Part | None:
    condition = validated(ConditionBody, value, path, errors)
    if condition is None:
        return None
    wanted = _wanted_value(condition)
    if wanted is not None:
        errors.append(FieldError(f"{path}.value", f"must be {wanted} for {condition.op}"))
    return condition


def _wanted_value(condition: ConditionBody) -> str | None:
    """What the value should be, if it is something else."""
    value = condition.value
    if condition.op == "in":
        fits = isinstance(value, list) and 0 < len(value) <= bodies.values_count_max
        if not fits or not all(map(_is_plain, value)):
            return f"an array of 1 to {bodies.values_count_max} texts, integers or booleans"
    elif condition.op in _ORDERED:
        if isinstance(value, bool) or not _is_plain(value):
            return "a text or an integer"
    elif not _is_plain(value):
        return "a text, an integer or a boolean"
    return None


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= text_length_max
    return isinstance(value, bool | int)


def _of_type(
    value: object, path: str, models: Mapping[str, type[Part]], errors: list[FieldError]
) -> Part | None:
    if not isinstance(value, Mapping):
        if value is not None and path != "trigger":
            errors.append(FieldError(path, f"must be a JSON object, not {json_kind(value)}"))
        return None
    kind = value.get("type")
    if isinstance(kind, str) and kind in models:
        return validated(models[kind], value, path, errors)
    if kind is None:
        errors.append(FieldError(f"{path}.type", "is required"))
    elif isinstance(kind, str) and kind in LATER:
        errors.append(FieldError(f"{path}.type", f"{kind} is not available yet"))
    else:
        errors.append(FieldError(f"{path}.type", f"must be one of {', '.join(models)}"))
    return None


def _listed(values: object, path: str, check: Any, errors: list[FieldError]) -> list[Part]:
    if not isinstance(values, list):
        return []
    parts = [check(value, f"{path}.{number}", errors) for number, value in enumerate(values)]
    return [part for part in parts if part is not None]

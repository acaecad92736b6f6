"""Ready-made rules: each with parameters of its own, and the definition that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field

from projections.rules import bodies
from projections.rules.bodies import AboveZero, AnyNumber, NotBelowZero, Part, Percentage, Ref
from projections.rules.definition import InvalidRule, parse
from schemas.careful import validated
from schemas.envelope import wire
from schemas.errors import FieldError
from schemas.events.derived import Priority
from schemas.events.fields import Currency, json_kind

Definition = dict[str, Any]


class Parameters(Part):
    """What every template takes beside its own."""

    name: Annotated[str, Field(min_length=1, max_length=bodies.name_length_max)] | None = Field(
        default=None, description="What to call the rule"
    )
    status: Literal["draft", "active", "paused"] = Field(
        default="active", description="Whether it is to act at once"
    )
    requires_approval: bool = Field(
        default=False, description="Whether every execution waits for your approval"
    )


class Alerting(Parameters):
    """Of templates that only notify."""

    priority: Priority = Field(default="medium", description="How urgent the alert is")


class SalaryAutoInvest(Parameters):
    percentage: Percentage = Field(description="Share of the salary, in percent")
    target_account: Ref = Field(description="Account that the share is moved to")
    account: Ref | None = Field(default=None, description="Only salaries paid into this account")


class SurplusSweep(Parameters):
    account: Ref = Field(description="Account to watch and to move money from")
    above: AnyNumber = Field(description="Balance that has to be exceeded")
    amount: AboveZero = Field(description="Amount to move each time")
    currency: Currency = Field(description="The account's currency")
    target_account: Ref = Field(description="Account that the amount is moved to")


class LowBalanceAlert(Alerting):
    account: Ref = Field(description="Account to watch")
    below: AnyNumber = Field(description="Balance that has to be undercut")


class LargeSpendingAlert(Alerting):
    min_amount: AboveZero = Field(description="Smallest debit to be told of")
    currency: Currency = Field(description="Its currency")
    account: Ref | None = Field(default=None, description="Only debits from this account")


class PriceAlert(Alerting):
    symbol: Ref = Field(description="Symbol to watch")
    price: NotBelowZero = Field(description="Price that has to be crossed")
    direction: Literal["below", "above"] = Field(description="To which side")


class BuyTheDip(Parameters):
    symbol: Ref = Field(description="Symbol to buy")
    below: NotBelowZero = Field(description="Price that has to be undercut")
    account: Ref = Field(description="Account that pays")
    amount: AboveZero = Field(description="Amount to invest each time")
    currency: Currency = Field(description="Currency of the amount")


class StopLoss(Parameters):
    account: Ref = Field(description="Trading account that holds the position")
    symbol: Ref = Field(description="Symbol to sell")
    below: NotBelowZero = Field(description="Price that has to be undercut")
    percentage: Percentage = Field(
        default=Decimal(100), description="Share of the position to close, in percent"
    )


P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True)
class Template(Generic[P]):
    """A kind of rule that people ask for by name."""

    id: str
    name: str
    description: str
    parameters: type[P]
    make: Callable[[P], Definition]

    def definition(self, body: object) -> Definition:
        """The definition that these parameters make.

        Raises:
            InvalidRule: everything that is wrong with them.
        """
        if not isinstance(body, Mapping):
            raise InvalidRule([FieldError("", f"must be a JSON object, not {json_kind(body)}")])
        errors: list[FieldError] = []
        given = validated(self.parameters, body, "", errors)
        if given is None:
            raise InvalidRule(errors)
        around = {
            "name": given.name or self.name,
            "status": given.status,
            "requiresApproval": given.requires_approval,
        }
        return parse(wire({**around, **self.make(given)}))

    def as_json(self) -> dict[str, Any]:
        """The template as the API lists it, its parameters with their JSON Schema."""
        schema = self.parameters.model_json_schema(by_alias=True)
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "parameters": {
                "type": "object",
                "properties": schema["properties"],
                "required": schema.get("required", []),
                "additionalProperties": False,
            },
        }


def _salary_auto_invest(given: SalaryAutoInvest) -> Definition:
    return {
        "trigger": _without_null(
            type="transaction", direction="credit", category="salary", account=given.account
        ),
        "actions": [
            {"type": "transfer", "to": given.target_account, "percentage": given.percentage},
            {
                "type": "notify",
                "message": f"{{amount}} of your salary went to {given.target_account}",
            },
        ],
        "maxExecutionsPerDay": 10,
    }


def _surplus_sweep(given: SurplusSweep) -> Definition:
    amount = {"amount": given.amount, "currency": given.currency}
    return {
        "trigger": {"type": "balance", "account": given.account, "above": given.above},
        "actions": [
            {
                "type": "transfer",
                "from": given.account,
                "to": given.target_account,
                "amount": amount,
            },
            {"type": "notify", "message": f"{{amount}} moved to {given.target_account}"},
        ],
        "maxExecutionsPerDay": 1,
    }


def _low_balance_alert(given: LowBalanceAlert) -> Definition:
    message = f"{given.account} is down to {{balance}}"
    return {
        "trigger": {"type": "balance", "account": given.account, "below": given.below},
        "actions": [{"type": "notify", "priority": given.priority, "message": message}],
    }


def _large_spending_alert(given: LargeSpendingAlert) -> Definition:
    return {
        "trigger": _without_null(
            type="transaction",
            direction="debit",
            currency=given.currency,
            minAmount=given.min_amount,
            account=given.account,
        ),
        "actions": [
            {
                "type": "notify",
                "priority": given.priority,
                "message": "{amount} was spent from {account}",
            }
        ],
    }


def _price_alert(given: PriceAlert) -> Definition:
    side = {given.direction: given.price}
    message = f"{{symbol}} is {given.direction} {given.price:f}: {{price}}"
    return {
        "trigger": {"type": "market_condition", "symbol": given.symbol, **side},
        "actions": [{"type": "notify", "priority": given.priority, "message": message}],
    }


def _buy_the_dip(given: BuyTheDip) -> Definition:
    amount = {"amount": given.amount, "currency": given.currency}
    return {
        "trigger": {"type": "market_condition", "symbol": given.symbol, "below": given.below},
        "actions": [
            {"type": "invest", "from": given.account, "symbol": given.symbol, "amount": amount},
            {"type": "notify", "message": "{amount} goes into {symbol} at {price}"},
        ],
        "maxExecutionsPerDay": 1,
    }


def _stop_loss(given: StopLoss) -> Definition:
    return {
        "trigger": {"type": "market_condition", "symbol": given.symbol, "below": given.below},
        "actions": [
            {
                "type": "close_position",
                "account": given.account,
                "symbol": given.symbol,
                "percentage": given.percentage,
            },
            {"type": "notify", "priority": "high", "message": "Closing {symbol} at {price}"},
        ],
        "maxExecutionsPerDay": 1,
    }


def _without_null(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


_ALL: tuple[Template[Any], ...] = (
    Template(
        "salary-auto-invest",
        "Invest part of my salary",
        "Moves a share of every salary to another account.",
        SalaryAutoInvest,
        _salary_auto_invest,
    ),
    Template(
        "surplus-sweep",
        "Move what is left over",
        "Moves an amount to another account when a balance rises above a line.",
        SurplusSweep,
        _surplus_sweep,
    ),
    Template(
        "low-balance-alert",
        "Tell me when an account runs low",
        "Notifies when a balance falls below a line.",
        LowBalanceAlert,
        _low_balance_alert,
    ),
    Template(
        "large-spending-alert",
        "Tell me of large debits",
        "Notifies of every debit from an amount on.",
        LargeSpendingAlert,
        _large_spending_alert,
    ),
    Template(
        "price-alert",
        "Tell me when a price is crossed",
        "Notifies when a symbol's price crosses a line.",
        PriceAlert,
        _price_alert,
    ),
    Template(
        "buy-the-dip",
        "Buy when it is cheap",
        "Invests an amount when a symbol's price falls below a line.",
        BuyTheDip,
        _buy_the_dip,
    ),
    Template(
        "stop-loss",
        "Limit my loss",
        "Closes a position when its price falls below a line.",
        StopLoss,
        _stop_loss,
    ),
)

TEMPLATES: Mapping[str, Template[Any]] = {template.id: template for template in _ALL}

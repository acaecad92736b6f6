"""What a rule may look like in a request (contract, section 6), part by part."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from projections.preferences.versions import zone_of
from schemas.errors import Invalid
from schemas.events.derived import Priority
from schemas.events.fields import (
    NOT_NEGATIVE,
    POSITIVE,
    SIGNED,
    Currency,
    Data,
    Instant,
)
from schemas.numbers import round_money

#: A rule is read at a glance, and an event pays for each part of each rule that could match it.
name_length_max = 200
conditions_count_max = 50
actions_count_max = 20
values_count_max = 200
#: Accounts and symbols. With the messages they keep what a rule derives far below an event's size.
id_length_max = 256
message_length_max = 1_000
#: Ten years: longer than any rule is of use, and far from the ends of the calendar.
cooldown_seconds_max = 10 * 366 * 86_400
executions_per_day_max = 1_000_000
percentage_max = 100


def _whole_as_text(value: Any) -> Any:
    # A JSON integer says exactly what it says; a JSON float may not, and is refused.
    return str(value) if type(value) is int else value


def _share(value: Decimal) -> Decimal:
    if value > percentage_max:
        raise Invalid(f"must not be above {percentage_max}")
    return value


_Whole = BeforeValidator(_whole_as_text)
Ref = Annotated[str, Field(min_length=1, max_length=id_length_max)]
AboveZero = Annotated[Decimal, POSITIVE, _Whole]
NotBelowZero = Annotated[Decimal, NOT_NEGATIVE, _Whole]
AnyNumber = Annotated[Decimal, SIGNED, _Whole]
#: Above 0, up to 100.
Percentage = Annotated[Decimal, POSITIVE, AfterValidator(_share), _Whole]


def zone_name(value: str) -> str:
    """The name of a time zone; raises Invalid if there is none of that name."""
    try:
        zone_of(value)
    except KeyError:
        raise Invalid("must be an IANA time zone such as Asia/Kolkata") from None
    return value


Zone = Annotated[str, AfterValidator(zone_name)]


class Part(Data):
    """A part of a request: whoever sends a name that means nothing is told so."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _null_is_missing(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: member for name, member in value.items() if member is not None}
        return value


class TransactionBody(Part):
    type: Literal["transaction"]
    account: Ref | None = None
    direction: Literal["credit", "debit"] | None = None
    category: Ref | None = None
    merchant: Ref | None = None
    currency: Currency | None = None
    min_amount: NotBelowZero | None = None
    max_amount: NotBelowZero | None = None


class BalanceBody(Part):
    type: Literal["balance"]
    account: Ref
    below: AnyNumber | None = None
    above: AnyNumber | None = None


class MarketConditionBody(Part):
    type: Literal["market_condition"]
    symbol: Ref
    below: NotBelowZero | None = None
    above: NotBelowZero | None = None


class ConditionBody(Part):
    field: Ref
    op: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "contains"]
    value: Any


class AmountBody(Part):
    """Fixed amounts are paid as they stand, so they can't have more decimals than can be paid."""

    amount: AboveZero
    currency: Currency

    @model_validator(mode="after")
    def _can_be_paid(self) -> AmountBody:
        if self.amount != round_money(self.amount, self.currency):
            raise Invalid(f"has more decimals than {self.currency}")
        return self


class TransferBody(Part):
    type: Literal["transfer"]
    from_: Ref | None = None
    to: Ref
    amount: AmountBody | None = None
    percentage: Percentage | None = None


class InvestBody(Part):
    type: Literal["invest"]
    from_: Ref | None = None
    symbol: Ref
    amount: AmountBody | None = None
    percentage: Percentage | None = None


class ClosePositionBody(Part):
    type: Literal["close_position"]
    account: Ref
    symbol: Ref
    percentage: Percentage | None = None


class NotifyBody(Part):
    type: Literal["notify"]
    priority: Priority = "medium"
    message: Annotated[str, Field(min_length=1, max_length=message_length_max)]


class RuleBody(Part):
    """The members around trigger, conditions and actions, which are looked at by themselves."""

    name: Annotated[str, Field(min_length=1, max_length=name_length_max)]
    status: Literal["draft", "active", "paused"] = "active"
    trigger: dict[str, Any]
    conditions: Annotated[list[Any], Field(max_length=conditions_count_max)] = Field(
        default_factory=list
    )
    actions: Annotated[list[Any], Field(min_length=1, max_length=actions_count_max)]
    requires_approval: bool = False
    cooldown_seconds: Annotated[int, Field(ge=0, le=cooldown_seconds_max)] = 0
    max_executions_per_day: Annotated[int, Field(ge=1, le=executions_per_day_max)] | None = None
    timezone: Zone | None = None
    expires_at: Instant | None = None


TRIGGERS: dict[str, type[Part]] = {
    "transaction": TransactionBody,
    "balance": BalanceBody,
    "market_condition": MarketConditionBody,
}
ACTIONS: dict[str, type[Part]] = {
    "transfer": TransferBody,
    "invest": InvestBody,
    "close_position": ClosePositionBody,
    "notify": NotifyBody,
}
#: What the contract names and this version does not do yet.
LATER = frozenset({"time_based", "portfolio_value", "external_event", "execute_rule"})

"""What a rule may look like, said field by field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from projections.rules import bodies, rule
from projections.rules.definition import (
    InvalidRule,
    bearing_topics,
    own_accounts,
    parse,
    rule_of,
)
from projections.rules.templates import TEMPLATES
from schemas.events.fields import wire_name
from tests.rules_log import SAVE_A_FIFTH, rule_with

MARKET = {"type": "market_condition", "symbol": "AAPL", "below": "150"}


def errors_of(body: object) -> list[str]:
    with pytest.raises(InvalidRule) as caught:
        parse(body)
    return [error.path for error in caught.value.errors]


def test_the_contract_s_example_is_itself() -> None:
    assert parse(SAVE_A_FIFTH) == SAVE_A_FIFTH


def test_what_is_left_out_has_its_default() -> None:
    made = parse({"name": "A", "trigger": MARKET, "actions": [{"type": "notify", "message": "x"}]})
    assert made == {
        "name": "A",
        "status": "active",
        "trigger": MARKET,
        "conditions": [],
        "actions": [{"type": "notify", "priority": "medium", "message": "x"}],
        "requiresApproval": False,
        "cooldownSeconds": 0,
        "maxExecutionsPerDay": None,
        "timezone": None,
        "expiresAt": None,
    }


def test_an_answer_can_be_sent_back_and_null_is_missing() -> None:
    answer = {"id": "r", "version": 3, "createdAt": "x", "updatedAt": "y", **SAVE_A_FIFTH}
    trigger = {**SAVE_A_FIFTH["trigger"], "merchant": None}
    assert parse({**answer, "trigger": trigger, "conditions": None, "status": None}) == {
        **SAVE_A_FIFTH,
        "conditions": [],
    }


def test_whole_numbers_and_times_get_their_one_form() -> None:
    trigger = {"type": "transaction", "minAmount": 5, "maxAmount": "5.00"}
    made = rule_with(trigger, expiresAt="2026-03-01T05:30:00+05:30")
    assert made["trigger"] == {"type": "transaction", "minAmount": "5", "maxAmount": "5.00"}
    assert made["expiresAt"] == "2026-03-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"name": ""}, ["name"]),
        ({"name": None}, ["name"]),
        ({"status": "on"}, ["status"]),
        ({"cooldownSecond": 5}, ["cooldownSecond"]),
        (
            {"cooldownSeconds": -1, "maxExecutionsPerDay": 0},
            ["cooldownSeconds"] * 1 + ["maxExecutionsPerDay"],
        ),
        ({"cooldownSeconds": "5"}, ["cooldownSeconds"]),
        ({"timezone": "Mars/Olympus"}, ["timezone"]),
        ({"expiresAt": "tomorrow"}, ["expiresAt"]),
        ({"trigger": None}, ["trigger"]),
        ({"trigger": {}}, ["trigger.type"]),
        ({"trigger": {"type": "sunrise"}}, ["trigger.type"]),
        ({"trigger": {"type": "transaction", "direction": "up"}}, ["trigger.direction"]),
        ({"trigger": {"type": "transaction", "minAmount": 5.5}}, ["trigger.minAmount"]),
        (
            {"trigger": {"type": "transaction", "minAmount": "6", "maxAmount": "5"}},
            ["trigger.maxAmount"],
        ),
        ({"trigger": {"type": "transaction", "symbol": "AAPL"}}, ["trigger.symbol"]),
        ({"trigger": {"type": "balance", "below": "1"}}, ["trigger.account"]),
        ({"trigger": {"type": "balance", "account": "a"}}, ["trigger"]),
        ({"trigger": {"type": "balance", "account": "a", "below": "1", "above": "2"}}, ["trigger"]),
        (
            {"conditions": [{"field": "", "op": "is"}]},
            ["conditions.0.field", "conditions.0.op", "conditions.0.value"],
        ),
        ({"conditions": [{"field": "a", "op": "in", "value": "x"}]}, ["conditions.0.value"]),
        ({"conditions": [{"field": "a", "op": "gt", "value": True}]}, ["conditions.0.value"]),
        ({"conditions": [{"field": "a", "op": "eq", "value": {}}]}, ["conditions.0.value"]),
        ({"conditions": {}}, ["conditions"]),
        ({"actions": []}, ["actions"]),
        ({"actions": ["x"]}, ["actions.0"]),
        ({"actions": [{"type": "transfer", "to": "b"}]}, ["actions.0"]),
        (
            {"actions": [{"type": "transfer", "to": "b", "from": "b", "percentage": "101"}]},
            ["actions.0.percentage"],
        ),
        (
            {"actions": [{"type": "transfer", "to": "b", "from": "b", "percentage": "1"}]},
            ["actions.0.to"],
        ),
        (
            {
                "actions": [
                    {
                        "type": "invest",
                        "symbol": "A",
                        "amount": {"amount": "1.005", "currency": "INR"},
                    }
                ]
            },
            ["actions.0.amount"],
        ),
        (
            {
                "actions": [
                    {"type": "invest", "symbol": "A", "amount": {"amount": "0", "currency": "XAU"}}
                ]
            },
            ["actions.0.amount.amount", "actions.0.amount.currency"],
        ),
        (
            {"actions": [{"type": "notify", "priority": "loud"}]},
            ["actions.0.priority", "actions.0.message"],
        ),
        ({"trigger": MARKET}, ["actions.0.percentage"]),
        (
            {
                "trigger": MARKET,
                "actions": [
                    {"type": "transfer", "to": "b", "amount": {"amount": "5", "currency": "INR"}}
                ],
            },
            ["actions.0.from"],
        ),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], paths: list[str]) -> None:
    assert errors_of({**SAVE_A_FIFTH, **change}) == paths


@pytest.mark.parametrize(
    ("member", "value", "path"),
    [
        ("trigger", {"type": "time_based", "cron": "0 9 * * *"}, "trigger.type"),
        ("trigger", {"type": "portfolio_value", "currency": "INR", "below": "1"}, "trigger.type"),
        ("trigger", {"type": "external_event", "system": "s", "name": "n"}, "trigger.type"),
        ("actions", [{"type": "execute_rule", "ruleId": "r"}], "actions.0.type"),
    ],
)
def test_what_comes_later_is_refused_clearly(member: str, value: Any, path: str) -> None:
    with pytest.raises(InvalidRule, match="is not available yet"):
        parse({**SAVE_A_FIFTH, member: value})
    assert errors_of({**SAVE_A_FIFTH, member: value}) == [path]


@pytest.mark.parametrize("body", [None, [], "x", 3])
def test_only_an_object_is_a_rule(body: object) -> None:
    assert errors_of(body) == [""]


def test_requests_and_rules_have_the_same_members() -> None:
    """Both are written out: one says what is valid, the other what the fold works with."""
    pairs = [
        (bodies.TransactionBody, rule.Transaction),
        (bodies.BalanceBody, rule.Balance),
        (bodies.MarketConditionBody, rule.MarketCondition),
        (bodies.ConditionBody, rule.Condition),
        (bodies.TransferBody, rule.Transfer),
        (bodies.InvestBody, rule.Invest),
        (bodies.ClosePositionBody, rule.ClosePosition),
        (bodies.NotifyBody, rule.Notify),
        (bodies.AmountBody, rule.Money),
        (bodies.RuleBody, rule.Rule),
    ]
    for body, struct in pairs:
        named = {wire_name(name) for name in body.model_fields} - {"type"}
        read = {field.encode_name for field in msgspec.structs.fields(struct)}
        assert named == read, struct.__name__


def test_what_a_rule_bears_on() -> None:
    assert bearing_topics(SAVE_A_FIFTH, "usr_17") == {("bfc.ledger", "usr_17")}
    balance = rule_with({"type": "balance", "account": "a", "below": "1"})
    assert bearing_topics(balance, "usr_17") == {("bfc.ledger", "usr_17")}
    assert bearing_topics(rule_with(MARKET), "usr_17") == {("market.prices", "AAPL")}


def test_which_accounts_must_be_one_s_own() -> None:
    assert own_accounts(SAVE_A_FIFTH) == {
        "trigger.account": "acc_9f2",
        "actions.0.from": "acc_9f2",
    }
    close = [{"type": "close_position", "account": "vy_1", "symbol": "AAPL"}]
    assert own_accounts(rule_with(MARKET, actions=close)) == {"actions.0.account": "vy_1"}


EXAMPLES: dict[str, dict[str, Any]] = {
    "salary-auto-invest": {"percentage": 20, "targetAccount": "INV001"},
    "surplus-sweep": {
        "account": "a",
        "above": "1000",
        "amount": "50",
        "currency": "INR",
        "targetAccount": "b",
    },
    "low-balance-alert": {"account": "a", "below": 100},
    "large-spending-alert": {"minAmount": "5000", "currency": "INR", "priority": "high"},
    "price-alert": {"symbol": "AAPL", "price": "200", "direction": "above"},
    "buy-the-dip": {
        "symbol": "AAPL",
        "below": "150",
        "account": "a",
        "amount": "100",
        "currency": "USD",
    },
    "stop-loss": {"account": "vy_1", "symbol": "AAPL", "below": "120.5"},
}


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_every_template_makes_a_rule(name: str) -> None:
    template = TEMPLATES[name]
    definition = template.definition(EXAMPLES[name])
    assert definition == parse(definition)
    assert rule_of(definition).status == "active"
    named = template.definition({**EXAMPLES[name], "name": "Mine", "status": "draft"})
    assert (named["name"], named["status"]) == ("Mine", "draft")
    listed = template.as_json()
    assert set(EXAMPLES[name]) <= set(listed["parameters"]["properties"])
    assert set(listed["parameters"]["required"]) <= set(EXAMPLES[name])


def test_the_contract_s_template_line() -> None:
    made = TEMPLATES["salary-auto-invest"].definition({"percentage": 20, "targetAccount": "INV001"})
    assert made["trigger"] == {"type": "transaction", "direction": "credit", "category": "salary"}
    assert made["actions"][0] == {"type": "transfer", "to": "INV001", "percentage": "20"}


def test_what_is_wrong_with_a_template_s_parameters_is_named() -> None:
    with pytest.raises(InvalidRule) as caught:
        TEMPLATES["salary-auto-invest"].definition({"percentage": 20.5, "target": "INV001"})
    assert {error.path for error in caught.value.errors} == {
        "percentage",
        "targetAccount",
        "target",
    }

"""What people set up in the front-ends: preferences, rules, and what they have read."""

from __future__ import annotations

from typing import Any

from streams.simulate.engine import MINUTE, SECOND, Engine
from streams.simulate.people import Person
from streams.simulate.visits import Visit, Visits
from streams.simulate.vyomo import Vyomo

APP = "/app/front-end"

# Of those who reach a step of the auto-invest funnel, how many take the next one.
CREATES, TESTS, ACTIVATES = 0.6, 0.72, 0.78


class Preferring:
    """Commands, and the auto-invest funnel: view rules, create, test, activate."""

    def __init__(self, engine: Engine, vyomo: Vyomo, visits: Visits) -> None:
        self._engine = engine
        self._vyomo = vyomo
        self._visits = visits

    def preferences(self, person: Person) -> None:
        """The person says once how they want to be told of things."""
        rng, country = person.rng, person.country
        large = person.amount(150, 900)
        preferences: dict[str, Any] = {
            "timezone": country.zone,
            "baseCurrency": country.currency,
            "quietHours": {"from": "22:30", "to": "07:00"} if rng.random() < 0.5 else None,
            "largeDebit": {country.currency: str(large)},
            "categories": {},
        }
        if rng.random() < 0.3:
            preferences["categories"] = {
                "transaction": {
                    "enabled": True,
                    "delivery": rng.choice(("hourly", "daily")),
                    "minimumPriority": "low",
                    "channels": ["inApp"],
                }
            }
        self._say("app.preferences.changed.v1", person, {"preferences": preferences})

    def read_all(self, person: Person) -> None:
        """Everything in the list of notifications is read."""
        self._say("app.notifications.read.v1", person, {})

    def view_rules(self, person: Person) -> None:
        """A look at the rules, and perhaps one of one's own."""
        rng = person.rng
        visit = self._visits.begin(person.platform, person.user)
        self._visits.step(visit, "view_rules", "/auto-actions", "rules")
        if rng.random() < CREATES:
            self._engine.after(rng.randint(40, 400) * SECOND, self._create, person, visit)

    def _create(self, person: Person, visit: Visit) -> None:
        person.rules += 1
        rule = f"rule_{person.number}_{person.rules}"
        definition = self._definition(person)
        draft = {"rule": rule, "version": 1, "definition": {**definition, "status": "draft"}}
        self._say("app.rule.created.v1", person, draft)
        if person.rng.random() < TESTS:
            self._engine.after(
                person.rng.randint(10, 90) * SECOND, self._test, person, rule, definition
            )

    def _test(self, person: Person, rule: str, definition: dict[str, Any]) -> None:
        self._say("app.rule.tested.v1", person, {"rule": rule})
        if person.rng.random() < ACTIVATES:
            delay = person.rng.randint(10, 3 * 60) * SECOND
            self._engine.after(delay, self._activate, person, rule, definition)

    def _activate(self, person: Person, rule: str, definition: dict[str, Any]) -> None:
        active = {"rule": rule, "version": 2, "definition": {**definition, "status": "active"}}
        self._say("app.rule.changed.v1", person, active)
        self._say("app.rule.activated.v1", person, {"rule": rule})

    def _definition(self, person: Person) -> dict[str, Any]:
        """One of four rules that people make, as the HTTP API takes it."""
        choices = [_low_balance(person), _large_payment(person)]
        if person.savings is not None:
            choices.append(_save_a_fifth(person, person.savings.account))
        if person.trading is not None and self._vyomo.prices:
            symbol = person.rng.choice(sorted(self._vyomo.prices))
            dip = (self._vyomo.prices[symbol] * 96 / 100).quantize(person.main.balance)
            choices.append(_price_dip(symbol, str(dip)))
        rule = {
            "conditions": [],
            "requiresApproval": False,
            "cooldownSeconds": 0,
            "maxExecutionsPerDay": 10,
            "timezone": person.country.zone,
            "expiresAt": None,
        }
        return rule | person.rng.choice(choices)

    def _say(self, kind: str, person: Person, data: dict[str, Any]) -> None:
        subject = data.get("rule", person.user)
        self._engine.say(kind, APP, data, user=person.user, subject=subject)

    def browse(self, person: Person) -> None:
        """A look at the own figures, without any intention."""
        rng = person.rng
        visit = self._visits.begin(person.platform, person.user)
        self._visits.step(visit, "view_dashboard", "/", "dashboard")
        if rng.random() < 0.6:
            page, feature = rng.choice((("/wealth", "net-worth"), ("/spending", "spending")))
            self._engine.after(
                rng.randint(5, 120) * SECOND, self._visits.step, visit, "open_page", page, feature
            )
        if rng.random() < 0.2:
            self._engine.after(2 * MINUTE, self.read_all, person)


def _save_a_fifth(person: Person, savings: str) -> dict[str, Any]:
    account = person.main.account
    return {
        "name": "Save a fifth",
        "trigger": {
            "type": "transaction",
            "direction": "credit",
            "category": "salary",
            "account": account,
        },
        "actions": [{"type": "transfer", "from": account, "to": savings, "percentage": "20"}],
    }


def _low_balance(person: Person) -> dict[str, Any]:
    line = person.amount(40, 300)
    return {
        "name": "Running low",
        "trigger": {"type": "balance", "account": person.main.account, "below": str(line)},
        "actions": [{"type": "notify", "priority": "high", "message": "Your balance is low"}],
    }


def _large_payment(person: Person) -> dict[str, Any]:
    return {
        "name": "Large payment",
        "trigger": {"type": "transaction", "direction": "debit"},
        "conditions": [{"field": "amount", "op": "gte", "value": str(person.amount(60, 250))}],
        "cooldownSeconds": 3600,
        "actions": [{"type": "notify", "priority": "medium", "message": "Paid {amount}"}],
    }


def _price_dip(symbol: str, line: str) -> dict[str, Any]:
    message = f"{symbol} fell below {line}"
    return {
        "name": f"{symbol} on a dip",
        "trigger": {"type": "market_condition", "symbol": symbol, "below": line},
        "actions": [{"type": "notify", "priority": "high", "message": message}],
    }

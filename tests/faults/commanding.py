"""What the people of the load do over HTTP: rules, preferences, reading, funnels."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.faults.banking import SYMBOLS, Person
from tests.faults.calling import Caller
from tests.faults.parts import Broken, Target

RULES = "/api/auto-actions/rules"

#: Seconds between two commands of all people together, on average.
PAUSE_SECONDS = 0.6

#: Rules that a person has at the beginning.
RULES_FIRST = 3

_KINDS = ("salary", "shopping", "incoming", "low", "high", "price", "approved")


class People:
    """Gives commands, each chosen by the seed; what becomes of it is for the log to say."""

    def __init__(self, target: Target, people: list[Person]) -> None:
        self._chance = random.Random(f"people {target.seed}")
        self._target = target
        self._people = people
        self._callers = {person.user: Caller(target, person.user) for person in people}
        self._analyst = Caller(target, "usr_analyst", "analyst")
        self._rules: dict[str, list[str]] = {}
        #: Commands that were answered.
        self.accepted = 0

    async def prepare(self) -> None:
        """Some rules and preferences of everybody."""
        for number, person in enumerate(self._people):
            caller = self._callers[person.user]
            for kind in range(RULES_FIRST):
                body = self._rule(person, _KINDS[(number + kind) % len(_KINDS)])
                answer = await caller.insist("POST", RULES, body)
                if answer.status_code != 201:
                    raise Broken(f"POST {RULES}: {answer.status_code} {answer.text[:300]}")
                self._rules.setdefault(person.user, []).append(answer.json()["id"])
            if number % 2:
                await caller.insist("PUT", "/api/notifications/preferences", self._preferences())

    async def run(self, stop: asyncio.Event) -> None:
        """One command after the other until told to stop."""
        while not stop.is_set():
            await self._command()
            try:
                async with asyncio.timeout(self._chance.uniform(0, 2 * PAUSE_SECONDS)):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _command(self) -> None:
        chance = self._chance
        person = chance.choice(self._people)
        caller = self._callers[person.user]
        kinds = ("create", "change", "delete", "prefer", "read", "read_all", "funnel")
        (kind,) = chance.choices(kinds, weights=(4, 5, 1, 4, 4, 2, 1))
        body = self._rule(person, chance.choice(_KINDS))
        known = self._rules.setdefault(person.user, [])
        if kind == "create":
            answer = await caller.ask("POST", RULES, body)
            if answer is not None and answer.status_code == 201:
                known.append(answer.json()["id"])
        elif kind == "change" and known:
            answer = await caller.ask("PUT", f"{RULES}/{chance.choice(known)}", body)
        elif kind == "delete" and len(known) > 1:
            gone = known.pop(chance.randrange(len(known)))
            answer = await caller.ask("DELETE", f"{RULES}/{gone}")
        elif kind == "prefer":
            preferences = self._preferences()
            answer = await caller.ask("PUT", "/api/notifications/preferences", preferences)
        elif kind == "read":
            answer = await self._read_one(caller)
        elif kind == "funnel":
            answer = await self._analyst.ask("POST", "/api/analytics/funnels", self._funnel())
        else:
            answer = await caller.ask("POST", "/api/notifications/read-all")
        self.accepted += answer is not None and answer.is_success

    async def _read_one(self, caller: Caller) -> Any:
        page = await caller.ask("GET", "/api/notifications", limit=20)
        if page is None or not page.is_success or not page.json()["items"]:
            return None
        chosen = self._chance.choice(page.json()["items"])["id"]
        return await caller.ask("POST", f"/api/notifications/{chosen}/read")

    def _rule(self, person: Person, kind: str) -> dict[str, Any]:
        chance = self._chance
        tell = {"type": "notify", "priority": chance.choice(["low", "medium", "high"])}
        save = {"type": "transfer", "from": person.account, "to": person.savings}
        own = {"type": "transaction", "account": person.account}
        symbol = chance.choice(SYMBOLS)
        line = str(chance.randint(235_000, 265_000))
        made: dict[str, dict[str, Any]] = {
            "salary": {
                "trigger": {**own, "direction": "credit", "category": "salary"},
                "conditions": [{"field": "amount", "op": "gte", "value": "1000"}],
                "actions": [{**save, "percentage": "20"}, {**tell, "message": "Saved {amount}"}],
            },
            "shopping": {
                "trigger": {**own, "direction": "debit", "category": "shopping"},
                "actions": [{**tell, "message": "{amount} at {merchant}"}],
                "cooldownSeconds": chance.choice([0, 5, 30]),
            },
            "incoming": {
                "trigger": {**own, "direction": "credit", "minAmount": "500"},
                "actions": [{**save, "percentage": "7.5"}],
                "maxExecutionsPerDay": chance.choice([3, 10]),
                "timezone": "Asia/Kolkata",
            },
            "low": {
                "trigger": {"type": "balance", "account": person.account, "below": line},
                "actions": [{**tell, "message": "Down to {balance}"}],
            },
            "high": {
                "trigger": {"type": "balance", "account": person.account, "above": line},
                "actions": [{**save, "amount": {"amount": "250.00", "currency": "INR"}}],
            },
            "price": {
                "trigger": {
                    "type": "market_condition",
                    "symbol": symbol,
                    chance.choice(["below", "above"]): str(chance.randint(40, 300)),
                },
                "actions": [{**tell, "message": "{symbol} is at {price}"}],
            },
            "approved": {
                "trigger": {**own, "direction": "debit"},
                "actions": [{**save, "percentage": "1"}],
                "requiresApproval": True,
                "cooldownSeconds": 10,
            },
        }
        status = chance.choice(["active", "active", "active", "paused", "draft"])
        return {"name": f"Rule {kind}", "status": status, **made[kind]}

    def _preferences(self) -> dict[str, Any]:
        chance = self._chance
        categories = ["transfer", "transaction", "trade", "kyc", "account", "alert"]
        quiet = chance.choice([None, {"from": "22:00", "to": "07:00"}])
        return {
            "timezone": chance.choice(["Asia/Kolkata", "America/New_York", "UTC"]),
            "quietHours": quiet,
            "baseCurrency": chance.choice(["INR", "USD"]),
            "largeDebit": {"INR": chance.choice(["500", "2000"])},
            "categories": {
                category: {
                    "enabled": chance.random() < 0.9,
                    "delivery": chance.choice(["immediate", "immediate", "hourly", "daily"]),
                    "minimumPriority": chance.choice(["low", "low", "medium"]),
                }
                for category in chance.sample(categories, 3)
            },
        }

    def _funnel(self) -> dict[str, Any]:
        steps = [{"name": name} for name in ("signup", "kyc_upload", "login")]
        name = f"faults-{self._chance.randint(1, 5)}"
        window = self._chance.choice([3_600, 86_400])
        return {"name": name, "windowSeconds": window, "steps": steps}

"""How people become customers, and how others who try do not."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from streams.simulate.bank import Bank, Posting
from streams.simulate.engine import DAY, HOUR, MINUTE, SECOND, Engine
from streams.simulate.people import ZERO, Person
from streams.simulate.visits import Visits
from streams.simulate.vyomo import Vyomo

KYC = "/bfc/kyc"
REASONS = ("document_unreadable", "address_mismatch", "document_expired")
REJECTED = 0.12

# How far those get who do not become customers; the rest of the hundred leave at the next step.
LEAVES_AFTER_SIGNUP, LEAVES_AFTER_VERIFYING = 0.46, 0.80

CustomerKnown = Callable[[Person], None]


class Onboarding:
    """The onboarding funnel: signup, verify e-mail, KYC upload, KYC approved, first deposit."""

    def __init__(
        self, engine: Engine, bank: Bank, vyomo: Vyomo, visits: Visits, rng: Random
    ) -> None:
        self._engine = engine
        self._bank = bank
        self._vyomo = vyomo
        self._visits = visits
        self._rng = rng
        self._strangers = 0

    def sign_up(self, person: Person, joined: CustomerKnown) -> None:
        """Someone who will go all the way; before the first step they are nobody yet."""
        rng = person.rng
        anonymous = rng.random() < 0.6
        visit = self._visits.begin(person.platform, None if anonymous else person.user)
        self._visits.step(visit, "signup", "/register", variant=rng.choice("AB"))
        visit.user = person.user
        verify, upload = rng.randint(1, 12) * MINUTE, rng.randint(15, 60) * MINUTE
        self._engine.after(verify, self._visits.step, visit, "verify_email", "/register/verify")
        self._engine.after(upload, self._upload, person, joined)

    def _upload(self, person: Person, joined: CustomerKnown) -> None:
        self._submit(person.user, person.rng)
        wait = person.rng.randint(HOUR, 36 * HOUR)
        if person.rng.random() < REJECTED:
            self._engine.after(wait, self._reject, person, joined)
        else:
            self._engine.after(wait, self._approve, person, joined)

    def _reject(self, person: Person, joined: CustomerKnown) -> None:
        self._say(person.user, "rejected", "full", reason=person.rng.choice(REASONS))
        self._engine.after(person.rng.randint(HOUR, 2 * DAY), self._upload, person, joined)

    def _approve(self, person: Person, joined: CustomerKnown) -> None:
        self._say(person.user, "approved", "full")
        cushion, person.main.balance = person.main.balance, ZERO
        if person.savings is not None:
            person.savings.balance = ZERO
        self.open_accounts(person)
        posting = Posting(
            category="deposit", counterparty="Other bank", description="First deposit"
        )
        delay = person.rng.randint(10 * MINUTE, 2 * DAY)
        self._engine.after(delay, self._bank.credit, person.main, cushion, posting)
        joined(person)

    def open_accounts(self, person: Person) -> None:
        """All accounts of the person, with what is in them."""
        country = person.country.code
        self._bank.open(person.main, f"{person.name}'s account", country)
        if person.savings is not None:
            self._bank.open(person.savings, "Savings", country, interestRate="0.035")
        if person.deposit is not None:
            maturity = f"{self._engine.today().year + 3}-03-31"
            terms = {"interestRate": "0.065", "maturity": maturity}
            self._bank.open(person.deposit, "Term deposit", country, **terms)
        if person.card is not None:
            limit = {"creditLimit": str(-person.card.floor), "interestRate": "0.36"}
            self._bank.open(person.card, "Card", country, **limit)
        if person.loan is not None:
            self._bank.open(person.loan, "Personal loan", country, interestRate="0.11")
        if person.dollars is not None:
            self._bank.open(person.dollars, "Dollar account", country)
        if person.trading is not None:
            self._vyomo.open(person.trading, f"{person.name} invests", country)

    def move_house(self, person: Person) -> None:
        """A customer's details change: at the bank, and in what the bank has checked."""
        city = person.rng.choice(("Lakeside", "Old Town", "Hill Road", "Riverview"))
        self._say(person.user, "updated", "full", fields={"city": city})
        self._bank.update(person.main, {"name": f"{person.name}'s account, {city}"})

    def stranger(self, gap: int, first_number: int) -> None:
        """Someone who tries and leaves; the next one comes after `gap` ms, on average."""
        rng = self._rng
        self._engine.after(int(rng.expovariate(1) * gap), self.stranger, gap, first_number)
        self._strangers += 1
        user = f"usr_{first_number + self._strangers}"
        platform = rng.choices(("android", "ios", "web"), (40, 20, 40))[0]
        visit = self._visits.begin(platform, None)
        self._visits.step(visit, "signup", "/register", variant=rng.choice("AB"))
        leaves = rng.random()
        if leaves < LEAVES_AFTER_SIGNUP:
            return
        visit.user = user
        delay = rng.randint(30, 900) * SECOND
        self._engine.after(delay, self._visits.step, visit, "verify_email", "/register/verify")
        if leaves < LEAVES_AFTER_VERIFYING:
            return
        self._engine.after(delay + 10 * MINUTE, self._submit, user, rng)
        outcome = "rejected" if rng.random() < 0.4 else "approved"
        self._engine.after(delay + rng.randint(HOUR, DAY), self._say, user, outcome, "full")

    def _submit(self, user: str, rng: Random) -> None:
        """By the newer front-ends in the newer form of the event, by the others in the older."""
        papers = {"document": rng.choice(("passport", "national_id")), "pages": rng.randint(1, 3)}
        if rng.random() < 0.5:
            self._say(user, "submitted", "full", fields=papers)
            return
        data = {
            "level": "full",
            "status": "submitted",
            "applicant": {"pages": papers["pages"]},
            "documents": [papers["document"]],
        }
        self._engine.say("bfc.kyc.submitted.v2", KYC, data, user=user, subject=user)

    def _say(
        self,
        user: str,
        status: str,
        level: str,
        fields: dict[str, Any] | None = None,
        reason: str | None = None,
    ) -> None:
        data: dict[str, Any] = {"level": level, "status": status, "fields": fields or {}}
        if reason is not None:
            data["reason"] = reason
        self._engine.say(f"bfc.kyc.{status}.v1", KYC, data, user=user, subject=user)

"""People sending money to each other, step by step, and walking away half-way at times."""

from __future__ import annotations

from streams.simulate.bank import Bank, Transfer
from streams.simulate.engine import SECOND, Cause, Engine
from streams.simulate.people import Person
from streams.simulate.visits import Visit, Visits

# Of those who reach a step, how many take the next one.
CONFIRMS, AUTHENTICATES, ARRIVES = 0.92, 0.94, 0.97


class Sending:
    """The transfer funnel: initiate, confirm the amount, authenticate, complete."""

    def __init__(self, engine: Engine, bank: Bank, visits: Visits) -> None:
        self._engine = engine
        self._bank = bank
        self._visits = visits

    def send(self, person: Person) -> None:
        """A transfer to a friend, or to the own dollar account's likes, from the front-end."""
        rng = person.rng
        if not person.friends:
            return
        friend = rng.choice(person.friends)
        if not friend.joined:
            return
        amount = person.amount(5, 160)
        reference = rng.choice(("Dinner", "Rent share", "Thank you", "Tickets", "Gift"))
        visit = self._visits.begin(person.platform, person.user)
        transfer, cause = self._bank.initiate(
            person.main, friend.main, amount, person.country.rail, reference
        )
        if rng.random() < CONFIRMS:
            self._engine.after(
                rng.randint(4, 40) * SECOND, self._confirm, person, visit, transfer, cause
            )
        elif rng.random() < 0.5:
            self._bank.abandon(transfer, cause)

    def _confirm(self, person: Person, visit: Visit, transfer: Transfer, cause: Cause) -> None:
        self._visits.step(
            visit, "confirm_amount", "/transfer/confirm", "transfers", rail=transfer.rail
        )
        if person.rng.random() < AUTHENTICATES:
            delay = person.rng.randint(5, 60) * SECOND
            self._engine.after(delay, self._authenticate, person, transfer, cause)
        else:
            self._bank.abandon(transfer, cause)

    def _authenticate(self, person: Person, transfer: Transfer, cause: Cause) -> None:
        self._bank.authenticate(transfer, cause)
        delay = person.rng.randint(1, 20) * SECOND
        arrives = person.rng.random() < ARRIVES
        outcome = self._bank.complete if arrives else self._bank.refuse
        self._engine.after(delay, outcome, transfer, cause)

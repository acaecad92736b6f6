"""What a person does on which day: puts it on the agenda every midnight of theirs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from streams.simulate.engine import DAY, HOUR, MINUTE, Engine
from streams.simulate.market import CLOSES_AT, OPENS_AT
from streams.simulate.onboarding import Onboarding
from streams.simulate.people import Person
from streams.simulate.preferring import Preferring
from streams.simulate.sending import Sending
from streams.simulate.spending import Spending
from streams.simulate.trading import Trading

# Chances per day.
BROWSES, VIEWS_RULES, MOVES_HOUSE, READS_CREDIT_SCORE = 0.10, 0.008, 0.002, 0.004
SETS_PREFERENCES = 0.4
"""Chance, once, soon after joining."""

Act = Callable[[Person], None]


class Days:
    """The routine of everybody: monthly duties, daily chances."""

    def __init__(
        self,
        engine: Engine,
        spending: Spending,
        sending: Sending,
        trading: Trading,
        preferring: Preferring,
        onboarding: Onboarding,
    ) -> None:
        self._engine = engine
        self._spending = spending
        self._sending = sending
        self._trading = trading
        self._preferring = preferring
        self._onboarding = onboarding

    def join(self, person: Person) -> None:
        """From now on the person lives in this world."""
        person.joined = True
        self._take_on_duties(person)
        if person.rng.random() < SETS_PREFERENCES:
            wait = person.rng.randint(5 * MINUTE, 2 * DAY)
            self._engine.after(wait, self._preferring.preferences, person)
        self._engine.after(MINUTE, self._day, person)

    def _take_on_duties(self, person: Person) -> None:
        """Which of the month's days (1 to 28) brings what, at which minute of the local day."""
        rng, spending = person.rng, self._spending
        payday = rng.choice((1, 25, 26, 27, 28))

        def duty(day: int, hour: int, act: Act) -> None:
            at = hour * 60 + rng.randint(0, 59)
            person.duties.setdefault((day - 1) % 28 + 1, []).append((at, act))

        duty(payday, 9, spending.salary)
        duty(payday + 1, 7, spending.save)
        duty(rng.randint(2, 5), 10, spending.rent)
        duty(5, 8, spending.repay_loan)
        duty(10, rng.randint(9, 20), spending.utilities)
        duty(14, 6, spending.phone)
        duty(20, 8, spending.repay_card)
        duty(28, 23, spending.interest)
        if person.trading is not None:
            duty(6, 11, spending.exchange)
            duty(28, 22, self._trading.statement)
            if person.trading.cash is None:
                for day in (7, 8, 9):
                    duty(day, 0, self._plan_investing)

    def _day(self, person: Person) -> None:
        """The person's midnight (or the moment they joined): the day is planned."""
        engine, rng, offset = self._engine, person.rng, person.country.offset * MINUTE
        midnight = (engine.now + offset) // DAY * DAY - offset
        engine.at(midnight + DAY, self._day, person)
        # Noon falls on the local date however the zone lies.
        today = datetime.fromtimestamp((midnight + offset) / 1000, UTC)
        for minute, act in person.duties.get(today.day, ()):
            self._plan(midnight + minute * MINUTE, act, person)
        kind = person.kind
        for _ in range(int(kind.payments + rng.random())):
            self._plan(self._some_time(midnight, person), self._spending.pay_shop, person)
        if rng.random() < kind.payments * 0.4:
            self._plan(self._some_time(midnight, person), self._spending.pay_shop, person)
        for chance, act in (
            (kind.transfer, self._sending.send),
            (BROWSES, self._preferring.browse),
            (VIEWS_RULES, self._preferring.view_rules),
            (MOVES_HOUSE, self._onboarding.move_house),
            (READS_CREDIT_SCORE, self._credit_score),
        ):
            if rng.random() < chance:
                self._plan(self._some_time(midnight, person), act, person)
        if rng.random() < kind.look:
            self._plan_in_trading_hours(midnight, self._trading.look, person)

    def _plan(self, moment: int, act: Act, person: Person) -> None:
        """What lies before the moment of joining does not happen."""
        if moment >= self._engine.now:
            self._engine.at(moment, act, person)

    def _plan_in_trading_hours(self, midnight: int, act: Act, person: Person) -> None:
        utc_day = (midnight + 12 * HOUR) // DAY * DAY
        open_for = CLOSES_AT - OPENS_AT - 10 * MINUTE
        moment = utc_day + OPENS_AT + int(person.rng.random() * open_for)
        self._plan(moment, act, person)

    def _plan_investing(self, person: Person) -> None:
        """On the first of three days in which the market is open, with luck the first."""
        if person.rng.random() < 0.5:
            self._plan_in_trading_hours(self._engine.now, self._trading.invest, person)

    def _credit_score(self, person: Person) -> None:
        """A word from another system that the person has connected."""
        data = {
            "system": "credit-bureau",
            "name": "score.updated",
            "payload": {"score": person.rng.randint(520, 840)},
        }
        self._engine.say(
            "external.event.received.v1",
            "/external/credit-bureau",
            data,
            user=person.user,
            subject=person.user,
        )

    @staticmethod
    def _some_time(midnight: int, person: Person) -> int:
        """Between seven and half past ten in the evening, most often after work."""
        return midnight + int(person.rng.triangular(7 * HOUR, 22.5 * HOUR, 18.5 * HOUR))

"""The simulated world put together, and its two ways out: a history, then live traffic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from random import Random

from schemas.envelope import Draft
from streams.simulate.bank import Bank
from streams.simulate.config import BadConfig, Config
from streams.simulate.days import Days
from streams.simulate.engine import DAY, HOUR, Clock, Engine
from streams.simulate.market import FIXES_AT, OPENS_AT, Market, midnight_ms
from streams.simulate.onboarding import Onboarding
from streams.simulate.people import Person, make_person
from streams.simulate.preferring import Preferring
from streams.simulate.sending import Sending
from streams.simulate.spending import Spending
from streams.simulate.trading import Trading
from streams.simulate.visits import Visits
from streams.simulate.vyomo import Vyomo

ECB = "/market/ecb"

CUSTOMERS_AT_START = 0.65
"""Share of the people who are customers on the first day; the others join while it lasts."""

JOINING_SHARE = 0.85
"""The last newcomers come when this much of the history is over, so that all of them live in it."""

FRIENDS_MAX = 6
DAYS_PER_STRANGER = 130
"""So many days pass, per person, between two people who try and do not become customers."""


class World:
    """All people, the bank, the platform and the market, on one agenda."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._start = midnight_ms(config.start.date())
        self.market = Market(config.until.date())
        first = self.market.first_day
        if config.start.date() < first:
            raise BadConfig(f"months: there are no prices before {first} (as shifted)")
        rng = Random(f"{config.seed}/world")
        self._engine = engine = Engine(config.seed, self._start)
        self.bank = Bank(engine)
        self.vyomo = Vyomo(engine, self.bank)
        visits = Visits(engine, Random(f"{config.seed}/visits"))
        self._onboarding = Onboarding(engine, self.bank, self.vyomo, visits, rng)
        self._days = Days(
            engine,
            Spending(engine, self.bank, self.market),
            Sending(engine, self.bank, visits),
            Trading(engine, self.vyomo, visits),
            Preferring(engine, self.vyomo, visits),
            self._onboarding,
        )
        self.people = [make_person(n, config.seed) for n in range(1, config.people + 1)]
        self._befriend()
        self._begin()

    def history(self) -> Iterator[Draft]:
        """Everything up to the end that the configuration names, in time order."""
        return self._engine.run(self.config.end_ms)

    def live(self, clock: Clock) -> Iterator[Draft]:
        """What comes after, without end; events carry the time that `clock` gives."""
        self._engine.go_live(clock)
        return self._engine.run()

    def _befriend(self) -> None:
        """Everyone gets some others of their own country, to send money to."""
        by_country: dict[str, list[Person]] = {}
        for person in self.people:
            by_country.setdefault(person.country.code, []).append(person)
        for person in self.people:
            known = by_country[person.country.code]
            for other in person.rng.sample(known, min(FRIENDS_MAX, len(known))):
                if other is not person:
                    person.friends.append(other)

    def _begin(self) -> None:
        engine, start, people = self._engine, self._start, self.people
        # The market's day is put down before the people's, so that the first fixings and prices
        # are known to whoever needs them.
        engine.at(start, self._market_day)
        self._say_last_known()
        length = self.config.end_ms - start
        for person in people:
            rng = person.rng
            if rng.random() < CUSTOMERS_AT_START or length < 10 * DAY:
                engine.at(start + rng.randint(0, 6 * HOUR), self._open_for, person)
            else:
                moment = start + int(rng.random() * JOINING_SHARE * length)
                engine.at(moment, self._onboarding.sign_up, person, self._days.join)
        gap = DAYS_PER_STRANGER * DAY // len(people)
        engine.at(start + gap // 2, self._onboarding.stranger, gap, len(people))

    def _open_for(self, person: Person) -> None:
        self._onboarding.open_accounts(person)
        self._days.join(person)

    def _say_last_known(self) -> None:
        """The prices and fixings of the last day before history, so that all can be valued."""
        day = self.config.start.date()
        for back in range(1, 15):
            if fixed := self.market.fixing(day - timedelta(back)):
                self._engine.at(self._start, self._fix, fixed)
                break
        for back in range(1, 15):
            if ticks := self.market.trading(day - timedelta(back)).ticks:
                for tick in ticks[-len({tick.symbol for tick in ticks}) :]:
                    self._engine.at(self._start, self.vyomo.tick, tick)
                break

    def _market_day(self) -> None:
        """Puts down the day's ticks, fixings, dividends and splits, and tomorrow."""
        engine, today = self._engine, self._engine.today()
        midnight = midnight_ms(today)
        engine.at(midnight + DAY, self._market_day)
        if fixed := self.market.fixing(today):
            engine.at(midnight + FIXES_AT, self._fix, fixed)
        trading = self.market.trading(today)
        if not trading.ticks:
            return
        before = midnight + OPENS_AT - HOUR
        for symbol, ratio in trading.splits.items():
            engine.at(before, self.vyomo.split, symbol, ratio)
        for symbol, per_share in trading.dividends.items():
            engine.at(before, self.vyomo.pay_dividend, symbol, per_share)
        for tick in trading.ticks:
            engine.at(midnight + tick.at, self.vyomo.tick, tick)
        opens, closes = trading.ticks[0].at, trading.ticks[-1].at
        engine.at(midnight + opens + 1_000, self.vyomo.open_day)
        engine.at(midnight + closes + 1_000, self.vyomo.close_day)

    def _fix(self, fixed: dict[str, object]) -> None:
        for quote, rate in fixed.items():
            data = {"base": "EUR", "quote": quote, "rate": str(rate), "source": "ECB"}
            self._engine.say("market.fx.fixed.v1", ECB, data, subject=f"EUR{quote}")


def history(config: Config) -> Iterator[Draft]:
    """The history of a new world; see World for going on live with the same people."""
    return World(config).history()

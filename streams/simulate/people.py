"""Who the simulated people are: four kinds, three currencies, and what each of them owns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from streams.simulate.bank import BankAccount
from streams.simulate.vyomo import TradingAccount

CENT = Decimal("0.01")
ZERO = Decimal("0.00")


@dataclass(frozen=True, slots=True)
class Country:
    """Where a person lives. `dearness` is what one US dollar's worth of daily life costs there;
    `offset` is the zone's minutes before UTC in winter."""

    code: str
    currency: str
    zone: str
    offset: int
    dearness: Decimal
    rail: str
    main_kind: str


INDIA = Country("IN", "INR", "Asia/Kolkata", 330, Decimal(24), "upi", "savings")
AUSTRALIA = Country("AU", "AUD", "Australia/Sydney", 600, Decimal("1.45"), "npp", "current")
AMERICA = Country("US", "USD", "America/New_York", -300, Decimal(1), "ach", "current")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of person behaves; chances are per day unless they say otherwise."""

    name: str
    share: int
    salary: tuple[int, int]
    rent_share: tuple[int, int]
    cushion: tuple[int, int]
    payments: float
    transfer: float
    look: float
    invests: float
    card: float


# Salaries in US dollars a month, rents in per cent of the salary, cushions (what is in the
# account at the beginning) in per cent of the salary.
KINDS = (
    Kind("salaried", 45, (2600, 7000), (22, 34), (60, 260), 0.75, 0.05, 0.08, 0.15, 0.5),
    Kind("trader", 20, (4200, 11000), (18, 28), (150, 600), 0.65, 0.04, 0.45, 1.0, 0.6),
    Kind("saver", 20, (2800, 6500), (15, 25), (300, 1500), 0.45, 0.03, 0.06, 0.8, 0.25),
    Kind("debt", 15, (1800, 3600), (32, 42), (10, 60), 0.95, 0.07, 0.07, 0.0, 0.9),
)

FIRST_NAMES = {
    "IN": ("Asha", "Ravi", "Meera", "Arjun", "Kavya", "Nikhil", "Divya", "Sanjay", "Isha", "Dev"),
    "AU": ("Chloe", "Liam", "Ruby", "Noah", "Zoe", "Jack", "Mia", "Oscar", "Ella", "Finn"),
    "US": ("Grace", "Ethan", "Nora", "Caleb", "June", "Owen", "Hazel", "Miles", "Ivy", "Reed"),
}
EMPLOYERS = {
    "IN": ("Sahyadri Software", "Deccan Mills", "Narmada Health", "Konkan Rail Works"),
    "AU": ("Wattle Mining", "Southern Cross Care", "Tasman Foods", "Murray River Water"),
    "US": ("Lakeshore Insurance", "Prairie Logistics", "Redwood Clinics", "Harbor Robotics"),
}


@dataclass(slots=True)
class Person:
    """One person and everything that is theirs in the simulation."""

    user: str
    number: int
    kind: Kind
    country: Country
    rng: Random
    name: str
    employer: str
    salary: Decimal
    rent: Decimal
    platform: str
    main: BankAccount
    savings: BankAccount | None = None
    card: BankAccount | None = None
    loan: BankAccount | None = None
    deposit: BankAccount | None = None
    dollars: BankAccount | None = None
    trading: TradingAccount | None = None
    friends: list[Person] = field(default_factory=list)
    duties: dict[int, list[tuple[int, Callable[[Person], None]]]] = field(default_factory=dict)
    sessions: int = 0
    rules: int = 0
    joined: bool = False

    def amount(self, low: int, high: int) -> Decimal:
        """Some price between two US dollar figures, as it would be where the person lives."""
        return local(Decimal(self.rng.randint(low * 100, high * 100)) / 100, self.country)


def local(dollars: Decimal, country: Country) -> Decimal:
    """A US dollar figure in the country's money; rupees are mostly asked for in whole ones."""
    step = Decimal(1) if country is INDIA else CENT
    return (dollars * country.dearness).quantize(step).quantize(CENT)


def make_person(number: int, seed: str) -> Person:
    """The person of that number: the same for the same seed, however many others there are."""
    rng = Random(f"{seed}/person/{number}")
    kind = rng.choices(KINDS, [one.share for one in KINDS])[0]
    country = rng.choices((INDIA, AUSTRALIA, AMERICA), (60, 20, 20))[0]
    salary = local(Decimal(rng.randint(*kind.salary)), country)
    rent = _per_cent(salary, rng.randint(*kind.rent_share))
    user = f"usr_{number}"
    cushion = _per_cent(salary, rng.randint(*kind.cushion))
    main = BankAccount(
        f"acc_{number}_main", user, country.main_kind, country.currency, cushion, ZERO
    )
    person = Person(
        user=user,
        number=number,
        kind=kind,
        country=country,
        rng=rng,
        name=rng.choice(FIRST_NAMES[country.code]),
        employer=rng.choice(EMPLOYERS[country.code]),
        salary=salary,
        rent=rent,
        platform=rng.choices(("android", "ios", "web"), (50, 25, 25))[0],
        main=main,
    )
    _give_accounts(person)
    return person


def _give_accounts(person: Person) -> None:
    rng, number, user, salary = person.rng, person.number, person.user, person.salary
    currency = person.country.currency

    def account(
        suffix: str, kind: str, in_currency: str, balance: Decimal, floor: Decimal
    ) -> BankAccount:
        return BankAccount(f"acc_{number}_{suffix}", user, kind, in_currency, balance, floor)

    if person.kind.name in ("salaried", "saver"):
        person.savings = account("sav", "savings", currency, person.main.balance * 2, ZERO)
    if rng.random() < person.kind.card:
        limit = _per_cent(salary, rng.randint(80, 250))
        used = _per_cent(limit, rng.randint(40, 90)) if person.kind.name == "debt" else ZERO
        person.card = account("card", "credit_card", currency, -used, -limit)
    if person.kind.name == "debt" or rng.random() < 0.12:
        owed = _per_cent(salary, rng.randint(300, 1400))
        person.loan = account("loan", "loan", currency, -owed, -owed * 10)
    if person.kind.name == "saver" and rng.random() < 0.7:
        put_by = _per_cent(salary, rng.randint(400, 2500))
        kind = rng.choice(("fixed_deposit", "recurring_deposit"))
        person.deposit = account("dep", kind, currency, put_by, ZERO)
    if rng.random() < person.kind.invests:
        _give_trading(person)


def _give_trading(person: Person) -> None:
    """Traders keep their cash at Vyomo; the others settle with a dollar account at the bank."""
    rng, number, user = person.rng, person.number, person.user
    if person.kind.name == "trader":
        cash = Decimal(rng.randint(8, 90) * 1000)
        short = rng.random() < 0.15
        person.trading = TradingAccount(f"vy_{number}", user, cash, None, short)
        return
    if person.country.currency == "USD":
        dollars = person.main
    else:
        balance = Decimal(rng.randint(5, 60) * 100)
        dollars = BankAccount(f"acc_{number}_usd", user, "current", "USD", balance, ZERO)
        person.dollars = dollars
    person.trading = TradingAccount(f"vy_{number}", user, None, dollars, False)


def _per_cent(amount: Decimal, share: int) -> Decimal:
    return (amount * share / 100).quantize(CENT)

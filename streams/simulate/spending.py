"""What people pay for with cards and phones, and what they pay and earn every month."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate

from streams.simulate.bank import Bank, BankAccount, Posting
from streams.simulate.engine import DAY, HOUR, Engine
from streams.simulate.market import Market
from streams.simulate.people import CENT, Person


@dataclass(frozen=True, slots=True)
class Shop:
    """A merchant: how often people go there, and what they leave there (US dollars)."""

    name: str
    mcc: str
    category: str
    weight: int
    low: int
    high: int
    holds: bool = False


SHOPS = (
    Shop("Green Basket", "5411", "groceries", 24, 8, 90),
    Shop("Corner Pantry", "5411", "groceries", 12, 3, 25),
    Shop("Saffron Table", "5812", "restaurants", 9, 12, 70),
    Shop("Two Ovens Pizza", "5814", "restaurants", 9, 6, 24),
    Shop("Bean & Leaf", "5814", "coffee", 11, 3, 9),
    Shop("Metro Line", "4111", "transport", 10, 1, 5),
    Shop("Yellow Cabs", "4121", "transport", 5, 5, 30),
    Shop("Fuel Stop 24", "5541", "fuel", 5, 20, 65, holds=True),
    Shop("Well Pharmacy", "5912", "health", 4, 4, 40),
    Shop("Loom & Thread", "5651", "clothes", 3, 15, 120),
    Shop("Volt Electronics", "5732", "electronics", 2, 30, 900),
    Shop("Paper Trail Books", "5942", "books", 2, 6, 35),
    Shop("Starlight Cinema", "7832", "entertainment", 2, 8, 25),
    Shop("Hillview Hotels", "7011", "travel", 1, 70, 420, holds=True),
    Shop("Meridian Air", "4511", "travel", 1, 90, 700),
)
_CUMULATIVE_WEIGHTS = list(accumulate(shop.weight for shop in SHOPS))

REVERSED_SHARE = 0.008
"""Purchases that the shop pays back some days later."""


class Spending:
    """A person's money, day by day and month by month."""

    def __init__(self, engine: Engine, bank: Bank, market: Market) -> None:
        self._engine = engine
        self._bank = bank
        self._market = market

    def pay_shop(self, person: Person) -> None:
        """One purchase, on the credit card if there is one with room, else from the account."""
        rng = person.rng
        shop = rng.choices(SHOPS, cum_weights=_CUMULATIVE_WEIGHTS)[0]
        amount = person.amount(shop.low, shop.high)
        posting = Posting(
            category=shop.category,
            merchant=shop.name,
            mcc=shop.mcc,
            description=f"{shop.name} {person.country.code}",
        )
        account = self._purse(person, amount)
        if shop.holds and rng.random() < 0.8:
            self._bank.hold(account, amount, posting, rng.randint(6 * HOUR, 2 * DAY))
            return
        paid = self._bank.debit(account, amount, posting)
        if paid and rng.random() < REVERSED_SHARE:
            back = Posting(category="refund", merchant=shop.name, mcc=shop.mcc, reverses=paid)
            delay = rng.randint(DAY, 4 * DAY)
            self._engine.after(delay, self._bank.credit, account, amount, back)

    def _purse(self, person: Person, amount: Decimal) -> BankAccount:
        card = person.card
        if card and person.rng.random() < 0.7 and card.balance - amount >= card.floor:
            return card
        return person.main

    def salary(self, person: Person) -> None:
        """The month's salary; one in fifteen months brings a bonus with it."""
        amount = person.salary
        if person.rng.random() < 1 / 15:
            amount += (amount * person.rng.randint(10, 60) / 100).quantize(CENT)
        posting = Posting(category="salary", counterparty=person.employer, description="Salary")
        self._bank.credit(person.main, amount, posting)

    def rent(self, person: Person) -> None:
        """The month's rent, if the account has it."""
        posting = Posting(category="rent", counterparty="Harbour Homes", description="Rent")
        self._bank.debit(person.main, person.rent, posting)

    def utilities(self, person: Person) -> None:
        """Power and water."""
        posting = Posting(
            category="utilities", merchant="City Power & Water", mcc="4900", description="Bill"
        )
        self._bank.debit(person.main, person.amount(25, 110), posting)

    def phone(self, person: Person) -> None:
        """Phone and a film subscription."""
        for merchant, mcc, low, high in (
            ("Clearwave Mobile", "4814", 8, 35),
            ("Reelhouse", "4899", 5, 14),
        ):
            posting = Posting(category="subscriptions", merchant=merchant, mcc=mcc)
            amount = person.amount(low, high)
            self._bank.debit(self._purse(person, amount), amount, posting)

    def save(self, person: Person) -> None:
        """A standing order into the savings account, and into a recurring deposit."""
        share = person.rng.randint(8, 20)
        for account in (person.savings, person.deposit):
            if account is not None and account.kind != "fixed_deposit":
                amount = (person.salary * share / 100).quantize(CENT)
                self._bank.standing_order(person.main, account, amount, "Monthly saving")

    def interest(self, person: Person) -> None:
        """Paid on savings, taken on debts: a twelfth of the year's rate."""
        for account, rate, takes in (
            (person.savings, Decimal("0.035"), False),
            (person.deposit, Decimal("0.065"), False),
            (person.loan, Decimal("0.11"), True),
            (person.card, Decimal("0.36"), True),
        ):
            if account is None:
                continue
            amount = abs(account.balance * rate / 12).quantize(CENT)
            if amount <= 0:
                continue
            posting = Posting(category="interest", description="Interest")
            if takes and account.balance < 0:
                self._bank.charge(account, amount, posting)
            elif not takes:
                self._bank.credit(account, amount, posting)

    def repay_loan(self, person: Person) -> None:
        """The loan's instalment, or what is left of it."""
        if person.loan is not None:
            instalment = min((person.salary * 14 / 100).quantize(CENT), -person.loan.balance)
            self._bank.standing_order(person.main, person.loan, instalment, "Instalment")

    def repay_card(self, person: Person) -> None:
        """All of it, except by those who live on it: they pay a tenth."""
        if person.card is not None:
            owed = -person.card.balance
            if person.kind.name == "debt":
                owed = (owed / 10).quantize(CENT)
            self._bank.standing_order(person.main, person.card, owed, "Card repayment")

    def exchange(self, person: Person) -> None:
        """Home money into dollars at the newest fixing, for those who invest from abroad."""
        if person.dollars is None:
            return
        home = (person.salary * person.rng.randint(4, 12) / 100).quantize(CENT)
        day = self._engine.today()
        rate = self._market.rate(person.country.currency, "USD", day)
        out = Posting(
            category="exchange", counterparty=person.dollars.account, description="To dollars"
        )
        into = Posting(
            category="exchange", counterparty=person.main.account, description="From home"
        )
        if self._bank.debit(person.main, home, out):
            self._bank.credit(person.dollars, (home * rate).quantize(CENT), into)

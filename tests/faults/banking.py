"""A small bank and its people: what happens there, as events, the same from the same seed.

Money is moved in pairs, a debit here and a credit there, which name each other by their
`correlationid`. So the rupees of all accounts together are always what they were at the opening,
less what is on its way: debits whose credit has not been read yet.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from schemas.envelope import Draft
from schemas.instants import rfc3339
from tests.builders import draft, fixing, opened, posted, step, tick, trade

PEOPLE = 36
OPENING = "250000.00"
EMPLOYER, SHOP = "usr_employer", "usr_shop"
SYMBOLS = ("AAPL", "TCS", "INFY", "BTC", "GOLDBEES", "MSFT")
PAIRS = (("USD", "INR", 83.1), ("EUR", "USD", 1.08))

#: Of happenings: how many are older than now, up to so many days.
LATE_SHARE = 0.06
LATE_DAYS_MAX = 3.0

#: Events kept for being sent a second time.
REMEMBERED_MAX = 400


class Raw(NamedTuple):
    """A record as it goes into the log, whatever it is."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Person(NamedTuple):
    """Who lives here: an account for every day, one for savings, and perhaps one for trading."""

    user: str
    account: str
    savings: str
    trading: str | None


class Bank:
    """Says what happens; every random choice follows from the seed."""

    def __init__(self, seed: int, people: int = PEOPLE) -> None:
        self._chance = random.Random(f"bank {seed}")
        self._seed = seed
        self._count = 0
        self.people = [_person(number) for number in range(people)]
        self._prices = {symbol: 50.0 + 40 * n for n, symbol in enumerate(SYMBOLS)}
        self._held: dict[tuple[str, str], int] = {}
        self._said: deque[Draft] = deque(maxlen=REMEMBERED_MAX)
        self._kinds: list[Callable[[datetime], list[Draft]]] = [
            self._transfer,
            self._movement,
            self._trade,
            self._market,
            self._visit,
            self._platforms,
        ]

    def openings(self, now: datetime) -> list[Draft]:
        """The accounts with what is on them, and a first price and fixing of everything."""
        drafts = []
        big = {"kind": "current", "openingBalance": "90000000.00"}
        for user in (EMPLOYER, SHOP):
            drafts.append(self._made(opened, f"acc_{user}", user=user, time=now, **big))
        for person in self.people:
            drafts += self._accounts_of(person, now)
        for symbol in SYMBOLS:
            drafts.append(self._tick(symbol, now))
        for base, quote, rate in PAIRS:
            drafts.append(self._made(fixing, base, quote, f"{rate:.4f}", time=now))
        return drafts

    def happening(self, now: datetime) -> list[Draft]:
        """The next thing that happens: a few events that belong together."""
        chance = self._chance
        if self._said and chance.random() < 0.03:
            return [chance.choice(self._said)]
        time = now
        if chance.random() < LATE_SHARE:
            time = now - timedelta(days=chance.uniform(0, LATE_DAYS_MAX))
        (kind,) = chance.choices(self._kinds, weights=(30, 14, 14, 20, 12, 10))
        drafts = kind(time)
        self._said.extend(drafts)
        return drafts

    def foreign(self, now: datetime) -> Raw:
        """A record that none of our producers makes: unreadable, or in binary mode."""
        chance = self._chance
        user = chance.choice(self.people).user
        self._count += 1
        name = f"x{self._seed}-{self._count}"
        if chance.random() < 0.5:
            return _binary(name, user, now)
        whole = b'{"specversion":"1.0","id":"%s"' % name.encode()
        return chance.choice(
            [
                Raw("bfc.ledger", user.encode(), b"{" + whole, []),
                Raw("bfc.ledger", user.encode(), None, []),
                Raw("bfc.transfers", user.encode(), whole + b"}", []),
                Raw("journeys", b"sess", b"\xff\xfe" + whole, []),
                Raw("market.prices", b"AAPL", b"[]", [("content-type", b"text/plain")]),
                Raw("vyomo.ledger", None, b"NaN", []),
            ]
        )

    # ---------------------------------------------------------------------------------------

    def _made(self, make: Callable[..., Draft], *parts: Any, **more: Any) -> Draft:
        self._count += 1
        return make(*parts, id=f"f{self._seed}-{self._count:07d}", **more)

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._seed}_{self._count}"

    def _amount(self, most: int) -> str:
        return f"{self._chance.randint(100, most * 100) / 100:.2f}"

    def _accounts_of(self, person: Person, now: datetime) -> list[Draft]:
        own: dict[str, Any] = {"user": person.user, "time": now}
        drafts = [
            self._made(opened, person.account, openingBalance=OPENING, **own),
            self._made(opened, person.savings, kind="current", openingBalance="1000", **own),
        ]
        if person.trading:
            data = {
                "account": person.trading,
                "kind": "trading",
                "currency": "USD",
                "name": "Trading",
                "institution": "Vyomo",
                "country": "IN",
                "holdsCash": True,
                "openingBalance": "100000",
            }
            drafts.append(self._made(draft, "vyomo.account.opened", data, **own))
        return drafts

    def _transfer(self, time: datetime) -> list[Draft]:
        chance = self._chance
        giver, taker = chance.sample(self.people, 2)
        transfer, amount = self._name("trf"), self._amount(3_000)
        data = {
            "transfer": transfer,
            "fromAccount": giver.account,
            "toAccount": taker.account,
            "amount": amount,
            "currency": "INR",
        }
        own: dict[str, Any] = {
            "user": giver.user,
            "time": time,
            "subject": transfer,
            "correlation_id": transfer,
        }
        steps = [
            self._made(draft, "bfc.transfer.initiated", data, **own),
            self._made(draft, "bfc.transfer.authenticated", data, **own),
        ]
        if chance.random() < 0.1:
            failed = {**data, "failure": "limit exceeded"}
            return [*steps, self._made(draft, "bfc.transfer.failed", failed, **own)]
        return [
            *steps,
            *self._pair(giver.user, giver.account, taker.user, taker.account, amount, own),
            self._made(draft, "bfc.transfer.completed", data, **own),
        ]

    def _pair(
        self, giver: str, source: str, taker: str, goal: str, amount: str, own: dict[str, Any]
    ) -> list[Draft]:
        """A debit and a credit of one amount; a transfer's name it."""
        more = {name: own[name] for name in ("time", "correlation_id")}
        if own["correlation_id"].startswith("trf"):
            more["transfer"] = own["correlation_id"]
        more |= {name: own[name] for name in ("category", "merchant") if name in own}
        return [
            self._made(posted, amount, "debit", source, user=giver, **more),
            self._made(posted, amount, "credit", goal, user=taker, **more),
        ]

    def _movement(self, time: datetime) -> list[Draft]:
        """Salary, shopping, saving; and now and then what a ledger must not take."""
        chance = self._chance
        person = chance.choice(self.people)
        user, account = person.user, person.account
        own: dict[str, Any] = {"time": time, "correlation_id": self._name("mov")}
        kind = chance.random()
        if kind < 0.3:
            own["category"] = "salary"
            amount = self._amount(9_000)
            return self._pair(EMPLOYER, f"acc_{EMPLOYER}", user, account, amount, own)
        if kind < 0.75:
            own |= {"category": "shopping", "merchant": chance.choice(["Croma", "Big Bazaar"])}
            return self._pair(user, account, SHOP, f"acc_{SHOP}", self._amount(4_000), own)
        if kind < 0.9:
            return self._pair(user, account, user, person.savings, self._amount(2_000), own)
        if kind < 0.94:  # not in the account's currency: a dead letter
            return [self._made(posted, "5.00", "credit", account, "USD", user=user, time=time)]
        if kind < 0.97:  # open already: another one
            return [self._made(opened, account, openingBalance="7", user=user, time=time)]
        pending = {"status": "pending", "user": user, "time": time}
        return [self._made(posted, self._amount(500), "debit", account, **pending)]

    def _trade(self, time: datetime) -> list[Draft]:
        chance = self._chance
        traders = [person for person in self.people if person.trading]
        person = chance.choice(traders)
        symbol, quantity = chance.choice(SYMBOLS), chance.randint(1, 9)
        held = self._held.get((person.user, symbol), 0)
        side = "sell" if held > quantity and chance.random() < 0.45 else "buy"
        self._held[person.user, symbol] = held + (quantity if side == "buy" else -quantity)
        order = self._name("ord")
        data = {
            "order": order,
            "symbol": symbol,
            "side": side,
            "kind": "market",
            "quantity": str(quantity),
            "account": person.trading,
        }
        own: dict[str, Any] = {"user": person.user, "time": time, "correlation_id": order}
        placed = self._made(draft, "vyomo.order.placed", data, **own)
        if chance.random() < 0.1:
            return [placed, self._made(draft, "vyomo.order.rejected", data, **own)]
        price = f"{self._prices[symbol]:.2f}"
        more = {"instrument": "crypto" if symbol == "BTC" else "equity", "fee": "0.25", **own}
        account = person.trading
        return [
            placed,
            self._made(draft, "vyomo.order.confirmed", data, **own),
            self._made(trade, str(quantity), price, side, symbol, account, order=order, **more),
        ]

    def _market(self, time: datetime) -> list[Draft]:
        chance = self._chance
        if chance.random() < 0.1:
            base, quote, rate = chance.choice(PAIRS)
            now = rate * chance.uniform(0.98, 1.02)
            return [self._made(fixing, base, quote, f"{now:.4f}", time=time)]
        symbol = chance.choice(SYMBOLS)
        self._prices[symbol] = max(1.0, self._prices[symbol] * chance.uniform(0.95, 1.053))
        return [self._tick(symbol, time)]

    def _tick(self, symbol: str, time: datetime) -> Draft:
        return self._made(tick, symbol, f"{self._prices[symbol]:.2f}", time=time)

    def _visit(self, time: datetime) -> list[Draft]:
        """A session that is named in the middle, on one platform."""
        chance = self._chance
        person = chance.choice(self.people)
        session, platform = self._name("sess"), chance.choice(["web", "ios", "android"])
        actions = ["signup", "kyc_upload", "login", "initiate_transfer", "authenticate"]
        steps = []
        for number, action in enumerate(actions[: chance.randint(1, 5)]):
            user = person.user if number > 1 or chance.random() < 0.3 else None
            moment = time + timedelta(milliseconds=150 * number)
            steps.append(self._made(step, action, session, platform, user=user, time=moment))
        return steps

    def _platforms(self, time: datetime) -> list[Draft]:
        """What happens more seldom: identity, dividends, splits, statements, other systems."""
        chance = self._chance
        person = chance.choice(self.people)
        own: dict[str, Any] = {"user": person.user, "time": time}
        symbol, trading = chance.choice(SYMBOLS), person.trading
        kind = chance.choice(["kyc", "kyc", "external", "update", "dividend", "report", "split"])
        if kind in ("dividend", "report", "split") and trading is None:
            kind = "update"
        if kind == "kyc":
            status = chance.choice(["submitted", "approved", "rejected"])
            data: dict[str, Any] = {"level": "full", "status": status, "fields": {"pan": "AB12"}}
            return [self._made(draft, f"bfc.kyc.{status}", data, **own)]
        if kind == "external":
            data = {"system": "crm", "name": "call", "payload": {"minutes": chance.randint(1, 9)}}
            return [self._made(draft, "external.event.received", data, **own)]
        if kind == "update":
            data = {"account": person.savings, "changes": {"name": chance.choice(["Nest", "Egg"])}}
            return [self._made(draft, "bfc.account.updated", data, **own)]
        if kind == "dividend":
            data = {"account": trading, "symbol": symbol, "amount": "1.50", "currency": "USD"}
            return [self._made(draft, "vyomo.dividend.paid", data, **own)]
        if kind == "split":
            numerator, denominator = chance.choice([(2, 1), (1, 2), (3, 2)])
            data = {"account": trading, "symbol": symbol}
            data |= {"numerator": numerator, "denominator": denominator}
            return [self._made(draft, "vyomo.split.applied", data, **own)]
        quantity = str(self._held.get((person.user, symbol), 0))
        data = {"account": trading, "symbol": symbol, "quantity": quantity, "currency": "USD"}
        return [self._made(draft, "vyomo.position.reported", data, **own)]


def _binary(name: str, user: str, now: datetime) -> Raw:
    attributes = {
        "specversion": "1.0",
        "id": name,
        "source": "/crm",
        "type": "external.event.received.v1",
        "time": rfc3339(now),
        "userid": user,
    }
    headers = [(f"ce_{key}", value.encode()) for key, value in attributes.items()]
    data = b'{"system": "crm", "name": "mail", "payload": {"opened": true}}'
    return Raw("external", user.encode(), data, [("content-type", b"application/json"), *headers])


def _person(number: int) -> Person:
    user = f"usr_{number:02d}"
    trading = f"vy_{number:02d}" if number % 3 else None
    return Person(user, f"acc_{number:02d}", f"sav_{number:02d}", trading)

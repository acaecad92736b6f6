"""Months of history for the gateway's benchmark: money, prices and journeys, as drafts.

Everything follows from its number: two runs have the same history, up to the day it ends.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from projections.funnels.given import GIVEN
from schemas.envelope import Draft

#: Days that the history reaches back; the funnel asks about thirty.
DAYS = 29
CURRENCIES = ("INR", "AUD", "USD")
SYMBOLS = tuple(f"SYM{n}" for n in range(40))
POSITIONS_PER_PERSON = 6
STEPS = tuple(step.name for step in GIVEN["onboarding"].steps)

#: Steps of one session on average, those that belong to no funnel included.
STEPS_PER_SESSION = 5
_CATEGORIES = ("food", "rent", "travel", "health", "salary")


def people(count: int) -> list[str]:
    """The ids of so many people."""
    return [f"usr_{number}" for number in range(1, count + 1)]


def beginnings(users: Sequence[str], end: datetime) -> Iterator[Draft]:
    """Accounts of everybody, prices of all symbols, fixings of all currencies."""
    start = end - timedelta(days=DAYS + 1)
    for symbol in SYMBOLS:
        data = {"symbol": symbol, "price": "101.50", "currency": "USD"}
        yield _draft("market.price.ticked.v1", f"price-{symbol}", data, start, None)
    for base, quote, rate in (("USD", "INR", "83.10"), ("AUD", "INR", "54.20")):
        data = {"base": base, "quote": quote, "rate": rate, "source": "ECB"}
        yield _draft("market.fx.fixed.v1", f"fix-{base}", data, start, None)
    for user in users:
        for number, currency in enumerate(CURRENCIES):
            yield _account("bfc", user, f"{user}_a{number}", "savings", currency, start)
        yield _account("vyomo", user, f"{user}_v", "trading", "USD", start)


def money(users: Sequence[str], count: int, end: datetime) -> Iterator[Draft]:
    """So many postings and trades, in the order of their times: one in twenty is a trade."""
    chance = random.Random(1)
    start, step = end - timedelta(days=DAYS), timedelta(days=DAYS) / max(1, count)
    for number in range(count):
        user, time = chance.choice(users), start + step * number
        if number % 20 == 0:
            yield _trade(number, user, time, chance)
        else:
            yield posting(f"m-{number}", user, time, chance)


def journeys(users: Sequence[str], count: int, end: datetime) -> Iterator[Draft]:
    """So many steps: sessions that come some way in the onboarding and look around between."""
    chance = random.Random(2)
    start = end - timedelta(days=DAYS)
    sessions = max(1, count // STEPS_PER_SESSION)
    for number in range(count):
        session, nth = divmod(number, STEPS_PER_SESSION)
        user = users[session % len(users)]
        # One step in five is none of the funnel's; who comes further is ever rarer.
        action = STEPS[nth] if chance.random() < 0.8 else "look_around"
        at = start + timedelta(days=DAYS) * (session / sessions) + timedelta(seconds=40 * nth)
        data = {
            "session": f"s-{session}",
            "action": action,
            "platform": ("web", "ios", "android")[session % 3],
            "page": "/welcome",
            "properties": {},
        }
        yield _draft("journey.step.recorded.v1", f"j-{number}", data, min(at, end), user)


def posting(event_id: str, user: str, time: datetime, chance: random.Random) -> Draft:
    """A posting on one of the person's accounts."""
    account = chance.randrange(len(CURRENCIES))
    data = {
        "transaction": event_id,
        "account": f"{user}_a{account}",
        "direction": "credit" if chance.random() < 0.6 else "debit",
        "amount": f"{chance.randrange(1, 90_000)}.{chance.randrange(100):02d}",
        "currency": CURRENCIES[account],
        "status": "posted",
        "category": chance.choice(_CATEGORIES),
        "merchant": f"Merchant {chance.randrange(500)}",
        "description": "Card payment",
    }
    return _draft("bfc.transaction.posted.v1", event_id, data, time, user)


def _trade(number: int, user: str, time: datetime, chance: random.Random) -> Draft:
    first = sum(user.encode()) % len(SYMBOLS)
    symbol = SYMBOLS[(first + chance.randrange(POSITIONS_PER_PERSON)) % len(SYMBOLS)]
    data = {
        "trade": f"t-{number}",
        "account": f"{user}_v",
        "symbol": symbol,
        "instrument": "equity",
        "side": "buy" if chance.random() < 0.8 else "sell",
        "quantity": f"{chance.randrange(1, 50)}",
        "price": f"{chance.randrange(90, 110)}.25",
        "currency": "USD",
        "fee": "1.20",
    }
    return _draft("vyomo.trade.executed.v1", f"t-{number}", data, time, user)


def _account(
    platform: str, user: str, account: str, kind: str, currency: str, time: datetime
) -> Draft:
    data = {
        "account": account,
        "kind": kind,
        "currency": currency,
        "name": "Everyday",
        "institution": platform.upper(),
        "country": "IN",
    }
    return _draft(f"{platform}.account.opened.v1", f"open-{account}", data, time, user)


def _draft(
    kind: str, event_id: str, data: dict[str, Any], time: datetime, user: str | None
) -> Draft:
    return Draft(
        id=event_id, type=kind, source="/benchmarks/past", data=data, time=time, user_id=user
    )

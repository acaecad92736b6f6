"""The log of the peer job, made from a seed, and what must come of it, in plain Python."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from schemas.limits import partitions_embedded
from schemas.topics import BFC_LEDGER, partition_of

TOPIC = BFC_LEDGER.name
PARTITIONS = partitions_embedded
EVENTS = 300_000
PEOPLE = 2_000
ACCOUNTS_EACH = 2
SEED = 7

#: The events are spread evenly over so long a time from this day on.
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 90

OPENING_CENTS = 1_000_000
#: What is spent is spread over these: most of it is small.
CATEGORIES = {
    "groceries": 22,
    "dining": 16,
    "transport": 14,
    "leisure": 12,
    "clothing": 8,
    "health": 6,
    "utilities": 5,
    "travel": 4,
    "fees": 4,
    "gifts": 4,
    "rent": 3,
    "salary": 2,
}
MERCHANTS = tuple(
    f"{first} {kind} {form}"
    for first in ("Nord", "Alpen", "City", "Blue", "Prima")
    for kind in ("Markt", "Bistro", "Mobil", "Reisen", "Mode", "Kiosk")
    for form in ("GmbH", "AG", "24", "Ltd")
)
CURRENCIES = ("EUR", "USD", "GBP")

_VALUE = (
    '{{"specversion":"1.0","id":"{id}","source":"/bfc/ledger","type":"bfc.transaction.posted.v1",'
    '"time":"{time}Z","userid":"{user}","data":{{"transaction":"t{number}",'
    '"account":"{account}","direction":"{direction}","amount":"{amount}","currency":"{currency}",'
    '"status":"posted","balanceAfter":"{balance}","category":"{category}",'
    '"merchant":"{merchant}"}}}}'
)


class Made(NamedTuple):
    """A record before it is in the log."""

    partition: int
    key: bytes
    value: bytes


def made(count: int = EVENTS, seed: int = SEED) -> list[Made]:
    """Postings in the order of their times; ids are random (UUIDv4), the rest looks like life."""
    chance = random.Random(seed)
    people = [f"u{number:06d}" for number in range(PEOPLE)]
    partitions = [partition_of(user.encode(), PARTITIONS) for user in people]
    categories = chance.choices(list(CATEGORIES), list(CATEGORIES.values()), k=count)
    balances: dict[str, int] = {}
    step = timedelta(days=DAYS) / count
    records = []
    for number in range(count):
        person = chance.randrange(PEOPLE)
        account = f"a{person:06d}-{chance.randrange(ACCOUNTS_EACH)}"
        credit = categories[number] == "salary"
        cents = chance.randrange(50_000, 400_000) if credit else chance.randrange(100, 20_000)
        balance = balances.get(account, OPENING_CENTS) + (cents if credit else -cents)
        balances[account] = balance
        value = _VALUE.format(
            id=uuid.UUID(int=chance.getrandbits(128), version=4),
            time=(BEGIN + number * step).isoformat(timespec="milliseconds")[:-6],
            number=number,
            user=people[person],
            account=account,
            direction="credit" if credit else "debit",
            amount=_decimal(cents),
            currency=CURRENCIES[person % len(CURRENCIES)],
            balance=_decimal(balance),
            category=categories[number],
            merchant=MERCHANTS[chance.randrange(len(MERCHANTS))],
        )
        records.append(Made(partitions[person], people[person].encode(), value.encode()))
    return records


def _decimal(cents: int) -> str:
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole}.{rest:02d}"


@dataclass(frozen=True)
class Tables:
    """The three tables as lines of text (values parted by tabs), sorted."""

    accounts: list[str]
    totals: list[str]
    transactions: list[str]


def reference(values: Iterable[bytes]) -> Tables:
    """What the tables must hold after these events, each person's in the order of the log."""
    accounts: dict[str, str] = {}
    sums: dict[tuple[str, str, str], Decimal] = {}
    entries: dict[tuple[str, str, str], int] = {}
    transactions = []
    for value in values:
        event = json.loads(value)
        data, user = event["data"], event["userid"]
        at = datetime.fromisoformat(event["time"])
        ms = round(at.timestamp() * 1000)
        amount = Decimal(data["amount"]) * (1 if data["direction"] == "credit" else -1)
        account, currency, balance = data["account"], data["currency"], data["balanceAfter"]
        accounts[account] = f"{account}\t{balance}\t{currency}\t{ms}\t{event['id']}"
        key = user, f"{at:%Y-%m}", data["category"]
        sums[key] = sums.get(key, Decimal(0)) + amount
        entries[key] = entries.get(key, 0) + 1
        transactions.append(
            f"{event['id']}\t{user}\t{account}\t{ms}\t{amount}\t{currency}"
            f"\t{data['category']}\t{data['merchant']}\t{balance}"
        )
    totals = ["\t".join([*key, str(total), str(entries[key])]) for key, total in sums.items()]
    return Tables(sorted(accounts.values()), sorted(totals), sorted(transactions))


def by_partition(records: Sequence[Made]) -> list[list[bytes]]:
    """The values of each partition in the order of its log."""
    values: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for record in records:
        values[record.partition].append(record.value)
    return values

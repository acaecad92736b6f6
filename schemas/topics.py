"""The topics as values, and the partitioner that all producers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from schemas import limits


class KeyKind(Enum):
    """What a record's key is."""

    USER = "userid"
    SYMBOL = "symbol"
    PAIR = "pair"
    SESSION = "userid or session"
    ORIGINAL = "original"


@dataclass(frozen=True)
class Topic:
    """One topic: who is its key, whether it is derived, and the settings it is created with."""

    name: str
    key: KeyKind
    description: str
    derived: bool = False
    record_bytes_max: int = limits.source_record_bytes_max
    settings: Mapping[str, str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", _settings(self.record_bytes_max))

    @property
    def needs_user(self) -> bool:
        """Whether every event of it must name a person."""
        return self.key is KeyKind.USER


def _settings(record_bytes_max: int) -> dict[str, str]:
    # Derived topics are kept for ever as well: read models are folded from them, too.
    return {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(record_bytes_max),
        "compression.type": "producer",
    }


_USER, _SESSION = KeyKind.USER, KeyKind.SESSION

BFC_LEDGER = Topic("bfc.ledger", _USER, "All that moves a bank account, in one order.")
BFC_TRANSFERS = Topic("bfc.transfers", _USER, "The workflow of transfers; it moves no money.")
BFC_KYC = Topic("bfc.kyc", _USER, "What the bank knows of a person, and how it was checked.")
VYOMO_ORDERS = Topic("vyomo.orders", _USER, "The workflow of orders; it moves no position.")
VYOMO_LEDGER = Topic("vyomo.ledger", _USER, "All that moves a trading account, in one order.")
MARKET_PRICES = Topic("market.prices", KeyKind.SYMBOL, "Prices, tick by tick.")
MARKET_FX = Topic("market.fx", KeyKind.PAIR, "Fixings; the key is base and quote joined.")
JOURNEYS = Topic("journeys", _SESSION, "What people do in the front-ends, named or not.")
EXTERNAL = Topic("external", _USER, "Events of any other system.")
APP_COMMANDS = Topic("app.commands", _USER, "What people do here and that must survive.")
NOTIFICATIONS = Topic("notifications", _USER, "Notifications raised.", derived=True)
RULES_TRIGGERED = Topic(
    "rules.triggered",
    _USER,
    "Executions of rules, and why others were held back.",
    derived=True,
)
ACTIONS = Topic("actions", _USER, "The hand-off to those who carry actions out.", derived=True)
WEALTH = Topic("wealth", _USER, "Snapshots of net worth and goals reached.", derived=True)
SYNC_CONFLICTS = Topic(
    "sync.conflicts", _USER, "Where two systems say different things.", derived=True
)
DEAD_LETTERS = Topic(
    "dead-letters",
    KeyKind.ORIGINAL,
    "Records that could not be applied, untouched, with the reason in their headers.",
    derived=True,
    record_bytes_max=limits.dead_letter_record_bytes_max,
)

TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        BFC_LEDGER,
        BFC_TRANSFERS,
        BFC_KYC,
        VYOMO_ORDERS,
        VYOMO_LEDGER,
        MARKET_PRICES,
        MARKET_FX,
        JOURNEYS,
        EXTERNAL,
        APP_COMMANDS,
        NOTIFICATIONS,
        RULES_TRIGGERED,
        ACTIONS,
        WEALTH,
        SYNC_CONFLICTS,
        DEAD_LETTERS,
    )
}


def source_topics() -> tuple[Topic, ...]:
    """The topics that are written from outside (front-ends included)."""
    return tuple(topic for topic in TOPICS.values() if not topic.derived)


def user_topics() -> tuple[Topic, ...]:
    """The topics whose key is the person."""
    return tuple(topic for topic in TOPICS.values() if topic.key is KeyKind.USER)


def event_topics() -> tuple[Topic, ...]:
    """All topics that carry events: every one but the dead letters."""
    return tuple(topic for topic in TOPICS.values() if topic.key is not KeyKind.ORIGINAL)


def murmur2(key: bytes) -> int:
    """The 32-bit hash that Kafka's Java clients use, as an unsigned number."""
    length = len(key)
    mixer = 0x5BD1E995
    value = 0x9747B28C ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(key[start : start + 4], "little") * mixer & 0xFFFFFFFF
        word = (word ^ word >> 24) * mixer & 0xFFFFFFFF
        value = value * mixer & 0xFFFFFFFF ^ word
    if whole < length:
        value ^= int.from_bytes(key[whole:], "little")
        value = value * mixer & 0xFFFFFFFF
    value = (value ^ value >> 13) * mixer & 0xFFFFFFFF
    return value ^ value >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as the Java clients choose it."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions

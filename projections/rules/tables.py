"""The rows of rule triggers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from projections.rules.rule import Condition, Rule
from projections.tables import Row, Table


class Begin(msgspec.Struct, frozen=True):
    """From where a command applies: after the moment at which it was appended, and not before the
    offset of a ``topic:partition`` that it names."""

    effective: Mapping[str, int]
    ingested_at: datetime


class RuleHead(Row, frozen=True):
    """A rule as its owner sees it: the newest version, whether it applies yet or not.

    ``watch`` and ``version`` lead to the row of that version.
    """

    user_id: str
    rule_id: str
    version: int
    watch: str
    definition: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    deleted: bool


class RuleVersion(Row, frozen=True):
    """One version of a rule, found by what it watches.

    It meets an event if ``begin`` applies to it and none of ``until``, where later versions begin.
    ``rule`` None means that nothing is watched: a draft, or the end of a deleted rule.
    """

    user_id: str
    watch: str
    rule_id: str
    version: int
    rule: Rule | None
    begin: Begin
    until: tuple[Begin, ...]
    previous_version: int | None
    previous_watch: str | None


class MarketLine(Row, frozen=True):
    """A line of a market rule, found by the prices that a tick moves between."""

    symbol: str
    line: Decimal
    user_id: str
    rule_id: str
    version: int
    waits_above: bool
    conditions: tuple[Condition, ...]
    begin: Begin
    until: tuple[Begin, ...]


class LatestPrice(Row, frozen=True):
    """The newest tick of a symbol by event time; of one instant, the later in the log."""

    symbol: str
    price: Decimal
    time: datetime


class KnownAccount(Row, frozen=True):
    """An account and its balance by currency, opening and posted postings together.

    ``currency`` is known once the account is opened; from then on it has no other.
    """

    user_id: str
    platform: str
    account: str
    currency: str | None
    balances: dict[str, Decimal]


class TimeZone(Row, frozen=True):
    """The time zone that a person chose, from where on; ``offset`` is that of the command."""

    user_id: str
    offset: int
    timezone: str
    effective: dict[str, int]
    ingested_at: datetime


class Firing(Row, frozen=True):
    """An execution that was not skipped: what cooldown and daily limit count.

    ``topic`` is where its cause stood. Executions are counted within one topic, so that what an
    event meets does not depend on the order between topics; only a rule whose trigger was changed
    to one of another kind has executions in two.
    """

    user_id: str
    rule_id: str
    topic: str
    time: datetime
    execution: UUID


class Execution(Row, frozen=True):
    """What became of a rule that matched an event."""

    user_id: str
    execution: UUID
    rule_id: str
    version: int
    event: str
    time: datetime
    outcome: str
    reason: str | None
    actions: tuple[dict[str, Any], ...]


HEADS = Table("rules", RuleHead, key=("user_id", "rule_id"), unit=2)
VERSIONS = Table(
    "rule_versions", RuleVersion, key=("user_id", "watch", "rule_id", "version"), unit=2
)
# Written in the lanes of people, read in those of symbols: never from a cache.
LINES = Table(
    "rule_lines",
    MarketLine,
    key=("symbol", "line", "user_id", "rule_id", "version"),
    unit=1,
    cached=False,
)
PRICES = Table("rule_prices", LatestPrice, key=("symbol",), unit=1)
ACCOUNTS = Table("rule_accounts", KnownAccount, key=("user_id", "platform", "account"), unit=3)
TIME_ZONES = Table("rule_time_zones", TimeZone, key=("user_id", "offset"), unit=1)
# A busy rule has any number of these; a batch reads those of its days alone.
FIRINGS = Table(
    "rule_firings",
    Firing,
    key=("user_id", "rule_id", "topic", "time", "execution"),
    unit=3,
    cached=False,
)
EXECUTIONS = Table("rule_executions", Execution, key=("user_id", "execution"), unit=2, cached=False)

TABLES: tuple[Table[Any], ...] = (
    HEADS,
    VERSIONS,
    LINES,
    PRICES,
    ACCOUNTS,
    TIME_ZONES,
    FIRINGS,
    EXECUTIONS,
)

"""Rule triggers: the fold of what people asked to happen when something happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from projections.preferences.versions import DEFAULT_ZONE, zone_of
from projections.rows import Rows
from projections.rules import execution, market, versions
from projections.rules.execution import Cause, execute
from projections.rules.matching import (
    EVERY_POSTING,
    crosses,
    fits,
    hold,
    in_force,
    watch_of_account,
    watch_of_symbol,
)
from projections.rules.rule import Balance, Transaction, Trigger, lines
from projections.rules.tables import (
    ACCOUNTS,
    HEADS,
    PRICES,
    TABLES,
    TIME_ZONES,
    VERSIONS,
    KnownAccount,
    RuleVersion,
    TimeZone,
)
from projections.tables import Key, Table, Want
from schemas.envelope import Event
from schemas.events.app import PreferencesChanged
from schemas.events.bank import TransactionPosted
from schemas.events.derived import RuleCrossed
from schemas.numbers import STRICT, ZERO


class Rules:
    """Finds the rules that an event meets by what they watch, never by going through rules."""

    name = execution.NAME
    version = execution.VERSION
    topics = ("app.commands", "bfc.ledger", "vyomo.ledger", "market.prices", "rules.triggered")
    tables: tuple[Table[Any], ...] = TABLES
    follows_commands = True

    @property
    def types(self) -> frozenset[str]:
        return frozenset(_FOLDS)

    def wants(self, event: Event) -> Iterable[Want]:
        return _WANTS[event.type](event) if event.type in _WANTS else ()

    def foresee(self, rows: Rows, events: Sequence[Event]) -> Iterable[Want]:
        yield from market.lines_wanted(rows, _of_type(events, "market.price.ticked"))
        spans: dict[tuple[Table[Any], Key], tuple[datetime, datetime]] = {}
        for version, event in _likely(rows, events):
            want = execution.firings_wanted(version, event)
            if want is None:
                continue
            if version.rule is not None and version.rule.timezone is None:
                yield Want(TIME_ZONES, (version.user_id,))
            low, high = spans.get((want.table, want.prefix), (want.low, want.high))
            spans[want.table, want.prefix] = min(low, want.low), max(high, want.high)
        for (table, prefix), (low, high) in spans.items():
            yield Want(table, prefix, low, high)

    def fold(self, rows: Rows, event: Event) -> None:
        _FOLDS[event.type](rows, event)


def _posted(rows: Rows, event: Event) -> None:
    """Move the balance, then execute the rules whose trigger and conditions this posting meets."""
    data: TransactionPosted = event.data
    if data.status != "posted":
        return
    # copy_negate: a minus sign would round to the 28 digits of Python's default context.
    amount = data.amount if data.direction == "credit" else data.amount.copy_negate()
    before, after = _move(rows, event, data.currency, amount)
    met = [
        version
        for version in _watching(rows, event)
        if version.rule is not None
        and in_force(version.begin, version.until, event)
        and _is_met(version.rule.trigger, data, before, after)
    ]
    if not met:
        return
    cause = Cause(
        event=event,
        source_id=event.id,
        data=event.raw_data,
        amount=data.amount,
        currency=data.currency,
        account=data.account,
        balance=after,
    )
    for version in met:
        if version.rule is not None and hold(version.rule.conditions, cause.data):
            execute(rows, version, cause)


def _watching(rows: Rows, event: Event) -> list[RuleVersion]:
    account = watch_of_account(event.data.account)
    return [
        *rows.find(VERSIONS, event.user_id, EVERY_POSTING),
        *rows.find(VERSIONS, event.user_id, account),
    ]


def _is_met(trigger: Trigger, data: TransactionPosted, before: Decimal, after: Decimal) -> bool:
    if isinstance(trigger, Transaction):
        return fits(trigger, data)
    return isinstance(trigger, Balance) and any(
        crosses(line, waits_above, before, after) for line, waits_above in lines(trigger)
    )


def _opened(rows: Rows, event: Event) -> None:
    """Balances start here; an opening crosses no line."""
    data = event.data
    known = rows.get(ACCOUNTS, event.user_id, _platform(event), data.account)
    if known is not None and known.currency is not None:
        rows.refuse("data.account", f"account {data.account} was opened before")
    _move(rows, event, data.currency, data.opening_balance or ZERO, opened=True)


def _move(
    rows: Rows, event: Event, currency: str, amount: Decimal, *, opened: bool = False
) -> tuple[Decimal, Decimal]:
    """Add to an account's balance in one currency; returns what it was and what it is."""
    assert event.user_id is not None
    key = (event.user_id, _platform(event), event.data.account)
    known = rows.get(ACCOUNTS, *key) or KnownAccount(*key, currency=None, balances={})
    if known.currency not in (None, currency):
        rows.refuse("data.currency", f"account {key[-1]} is in {known.currency}, not in {currency}")
    before = known.balances.get(currency, ZERO)
    after = STRICT.add(before, amount)
    balances = {**known.balances, currency: after}
    rows.put(ACCOUNTS, KnownAccount(*key, currency if opened else known.currency, balances))
    return before, after


def _platform(event: Event) -> str:
    return event.type.partition(".")[0]


def _crossed(rows: Rows, event: Event) -> None:
    """A crossing arrives at the rule's owner, with the version that was in force for the tick."""
    data: RuleCrossed = event.data
    version = _version_crossed(rows, event)
    if version is None:
        rows.refuse("data.rule", f"version {data.rule_version} of {data.rule} is not known")
    execute(rows, version, Cause(event=event, source_id=data.event, data=event.raw_data))


def _version_crossed(rows: Rows, event: Event) -> RuleVersion | None:
    data: RuleCrossed = event.data
    watch = watch_of_symbol(data.symbol)
    return rows.get(VERSIONS, event.user_id, watch, data.rule, data.rule_version)


def _prefers(rows: Rows, event: Event) -> None:
    """The time zone is what days are counted in by rules that name none."""
    data: PreferencesChanged = event.data
    zone = data.preferences.timezone or DEFAULT_ZONE
    try:
        zone_of(zone)
    except KeyError:
        rows.refuse("data.preferences.timezone", f"there is no time zone {zone}")
    assert event.user_id is not None
    chosen = TimeZone(
        user_id=event.user_id,
        offset=event.position.offset,
        timezone=zone,
        effective=dict(data.effective),
        ingested_at=event.ingested_at,
    )
    rows.put(TIME_ZONES, chosen)


def _likely(rows: Rows, events: Sequence[Event]) -> Iterator[tuple[RuleVersion, Event]]:
    """Versions that will probably execute, as far as rows tell that are loaded at the start."""
    for event in _of_type(events, "bfc.transaction.posted"):
        if event.data.status == "posted":
            for version in _watching(rows, event):
                trigger = version.rule.trigger if version.rule else None
                if isinstance(trigger, Transaction) and fits(trigger, event.data):
                    yield version, event
    for event in _of_type(events, "rule.crossed"):
        crossed = _version_crossed(rows, event)
        if crossed is not None:
            yield crossed, event


def _of_type(events: Sequence[Event], type: str) -> Iterator[Event]:
    return (event for event in events if event.type == type)


def _wants_posted(event: Event) -> Iterable[Want]:
    if event.data.status != "posted":
        return ()
    user_id, account = event.user_id, event.data.account
    return (
        Want(ACCOUNTS, (user_id, "bfc", account)),
        Want(VERSIONS, (user_id, EVERY_POSTING)),
        Want(VERSIONS, (user_id, watch_of_account(account))),
    )


def _wants_opened(event: Event) -> Iterable[Want]:
    return (Want(ACCOUNTS, (event.user_id, _platform(event), event.data.account)),)


def _wants_head(event: Event) -> Iterable[Want]:
    return (Want(HEADS, (event.user_id, event.data.rule)),)


_FOLDS: Mapping[str, Callable[[Rows, Event], None]] = {
    "app.rule.created": versions.create,
    "app.rule.changed": versions.change,
    "app.rule.deleted": versions.delete,
    "app.preferences.changed": _prefers,
    "bfc.account.opened": _opened,
    "bfc.transaction.posted": _posted,
    "vyomo.account.opened": _opened,
    "market.price.ticked": market.tick,
    "rule.crossed": _crossed,
}
_WANTS: Mapping[str, Callable[[Event], Iterable[Want]]] = {
    "app.rule.created": _wants_head,
    "app.rule.changed": _wants_head,
    "app.rule.deleted": _wants_head,
    "bfc.account.opened": _wants_opened,
    "bfc.transaction.posted": _wants_posted,
    "vyomo.account.opened": _wants_opened,
    "market.price.ticked": lambda event: (Want(PRICES, (event.data.symbol,)),),
    "rule.crossed": lambda event: (
        Want(VERSIONS, (event.user_id, watch_of_symbol(event.data.symbol))),
    ),
}

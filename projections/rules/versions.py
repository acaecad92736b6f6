"""What commands do to rules: versions that follow each other, each from a position on."""

from __future__ import annotations

from msgspec.structs import replace

from projections.rows import Rows
from projections.rules.definition import InvalidRule, parse
from projections.rules.matching import (
    EVERY_POSTING,
    NOTHING,
    precedes,
    watch_of_account,
    watch_of_symbol,
)
from projections.rules.rule import Balance, MarketCondition, Rule, Transaction, lines, read
from projections.rules.tables import (
    HEADS,
    LINES,
    VERSIONS,
    Begin,
    MarketLine,
    RuleHead,
    RuleVersion,
)
from schemas.envelope import Event
from schemas.events.app import RuleDefined


def create(rows: Rows, event: Event) -> None:
    """The first version of a rule."""
    data: RuleDefined = event.data
    if rows.get(HEADS, event.user_id, data.rule) is not None:
        rows.refuse("data.rule", f"rule {data.rule} exists already")
    _define(rows, event, None)


def change(rows: Rows, event: Event) -> None:
    """A later version; the whole of it."""
    head = _head(rows, event)
    if head.deleted:
        rows.refuse("data.rule", f"rule {head.rule_id} was deleted")
    _define(rows, event, head)


def delete(rows: Rows, event: Event) -> None:
    """The end of a rule, as a version that watches nothing; again has no effect."""
    head = _head(rows, event)
    if not head.deleted:
        ended = replace(head, deleted=True, updated_at=event.time)
        _add_version(rows, event, ended, head, None)


def _head(rows: Rows, event: Event) -> RuleHead:
    head = rows.get(HEADS, event.user_id, event.data.rule)
    if head is None:
        rows.refuse("data.rule", f"rule {event.data.rule} is not known")
    return head


def _define(rows: Rows, event: Event, before: RuleHead | None) -> None:
    data: RuleDefined = event.data
    try:
        definition = parse(data.definition)
    except InvalidRule as error:
        rows.refuse("data.definition", str(error))
    assert event.user_id is not None
    head = RuleHead(
        user_id=event.user_id,
        rule_id=data.rule,
        version=data.version,
        watch=NOTHING,
        definition=definition,
        created_at=before.created_at if before else event.time,
        updated_at=event.time,
        deleted=False,
    )
    _add_version(rows, event, head, before, read(definition))


def _add_version(
    rows: Rows, event: Event, head: RuleHead, before: RuleHead | None, rule: Rule | None
) -> None:
    # Two changes that did not know of each other may bear one number: the later in the log gets
    # the next one, so that a version is one definition for ever.
    number = max(head.version, before.version + 1) if before else head.version
    watch = NOTHING if rule is None or rule.status == "draft" else _watched(rule)
    begin = Begin(dict(event.data.effective), event.ingested_at)
    version = RuleVersion(
        user_id=head.user_id,
        watch=watch,
        rule_id=head.rule_id,
        version=number,
        rule=None if watch == NOTHING else rule,
        begin=begin,
        until=(),
        previous_version=before.version if before else None,
        previous_watch=before.watch if before else None,
    )
    rows.put(HEADS, replace(head, version=number, watch=watch))
    _put(rows, version)
    _end_earlier(rows, version)


def _watched(rule: Rule) -> str:
    match rule.trigger:
        case Transaction(account=None):
            return EVERY_POSTING
        case Transaction(account=str(account)) | Balance(account=account):
            return watch_of_account(account)
        case MarketCondition(symbol=symbol):
            return watch_of_symbol(symbol)
    return NOTHING


def _end_earlier(rows: Rows, later: RuleVersion) -> None:
    """Tell earlier versions where the later one begins, back to the first that need not know.

    Where an earlier version is ended by something that precedes the new beginning, all before it
    are, too: they were told of that as well.
    """
    begin, number, watch = later.begin, later.previous_version, later.previous_watch
    while number is not None and watch is not None:
        version = rows.get(VERSIONS, later.user_id, watch, later.rule_id, number)
        assert version is not None
        if any(precedes(known, begin) for known in version.until):
            return
        until = (*(known for known in version.until if not precedes(begin, known)), begin)
        _put(rows, replace(version, until=until))
        number, watch = version.previous_version, version.previous_watch


def _put(rows: Rows, version: RuleVersion) -> None:
    rows.put(VERSIONS, version)
    rule = version.rule
    if rule is None or not isinstance(rule.trigger, MarketCondition):
        return
    for line, waits_above in lines(rule.trigger):
        rows.put(
            LINES,
            MarketLine(
                symbol=rule.trigger.symbol,
                line=line,
                user_id=version.user_id,
                rule_id=version.rule_id,
                version=version.version,
                waits_above=waits_above,
                conditions=rule.conditions,
                begin=version.begin,
                until=version.until,
            ),
        )

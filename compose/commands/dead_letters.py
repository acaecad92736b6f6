"""`streams dead-letters`: what could not be applied, and what an operator decides about it."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from compose import letters
from compose.errors import CommandError
from compose.exit_codes import ExitCode
from compose.settings import read_settings

if TYPE_CHECKING:
    from projections.postgres.dead_letters import Amount, Chosen, Decision
    from schemas.position import Position

app = typer.Typer(help="Records that could not be applied.", no_args_is_help=True)

T = TypeVar("T")

LISTED_DEFAULT = 50

#: Of one record that are shown: no more projections than that refuse it.
REFUSALS_MAX = 100

_OPEN = "open"

Positions = Annotated[
    list[str] | None,
    typer.Argument(metavar="[POSITION]...", help="Where they stood: topic:partition:offset."),
]
Projection = Annotated[
    list[str] | None,
    typer.Option(help="Refused by this projection; * for what nobody can read. Repeatable."),
]
Topic = Annotated[list[str] | None, typer.Option(help="From this topic. Repeatable.")]
Reason = Annotated[str | None, typer.Option(help="Part of the reason, capitals or not.")]
User = Annotated[str | None, typer.Option(help="Of this person, or with this key.")]
Since = Annotated[str | None, typer.Option(help="Refused at or after: RFC 3339, or a day.")]
Until = Annotated[str | None, typer.Option(help="Refused before: RFC 3339, or a day.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Everything = Annotated[bool, typer.Option("--all", help="All open ones, without a filter.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Most = Annotated[int | None, typer.Option(min=1, help="Only the first so many.")]
By = Annotated[str | None, typer.Option(help="Who decides. Default: the user of the system.")]


@app.command("list")
def list_(
    positions: Positions = None,
    projection: Projection = None,
    topic: Topic = None,
    reason: Reason = None,
    user: User = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="open, retried, resolved, superseded, discarded or all. Repeatable. Default: open."
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="Of lines.")] = LISTED_DEFAULT,
    count: Annotated[
        str | None,
        typer.Option(help="Count instead, by projection, topic, state, user, path or reason."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the oldest first."""
    from projections.postgres import dead_letters as rows

    if count is not None and count not in rows.COUNTED_BY:
        raise _wrong("--count", f"{count!r} is none of {', '.join(rows.COUNTED_BY)}")
    chosen = _chosen(positions, projection, topic, reason, user, since, until, _states(state))
    if count is not None:
        counts = _ask(lambda pool: rows.count_by(pool, chosen, count))
        letters.show_counts(count, counts, as_json)
        return

    async def ask(pool: Any) -> tuple[Any, Any]:
        return await rows.find(pool, chosen, limit), await rows.count(pool, chosen)

    found, amount = _ask(ask)
    letters.show_list(found, amount, as_json)


@app.command()
def show(
    position: Annotated[str, typer.Argument(help="Where it stood: topic:partition:offset.")],
    projection: Projection = None,
    as_json: AsJson = False,
) -> None:
    """Show a record with its headers, and who refused it and why."""
    from projections.postgres import dead_letters as rows

    chosen = _chosen([position], projection, None, None, None, None, None, None)
    found = _ask(lambda pool: rows.find(pool, chosen, REFUSALS_MAX))
    if not found:
        raise CommandError(
            f"no dead letter stands at {position}; `streams dead-letters list --state all`"
        )
    letters.show_records(found, as_json)


@app.command()
def retry(
    positions: Positions = None,
    projection: Projection = None,
    topic: Topic = None,
    reason: Reason = None,
    user: User = None,
    since: Since = None,
    until: Until = None,
    limit: Most = None,
    everything: Everything = False,
    yes: Yes = False,
    by: By = None,
    why: Annotated[str | None, typer.Option(help="Kept with them.")] = None,
) -> None:
    """Put records into the log again, after what made them be refused was mended.

    They go to the end of their topics, in the order in which they stood. Only those who refused
    an event apply it there. Doing it again changes nothing.
    """
    from projections.postgres import dead_letters as rows

    chosen = _chosen(positions, projection, topic, reason, user, since, until, (_OPEN,))
    _narrowed(chosen, everything)
    decision = _decision(by, why)
    bare = _ask(lambda pool: rows.count(pool, replace(chosen, kept=False)))
    if bare.letters:
        typer.echo(f"{letters.told(bare)} without a record: applied if the event comes again")
    amount = _confirmed("put into the log again", replace(chosen, kept=True), limit, yes)
    if amount.letters:
        done = _ask(lambda pool: rows.retry(pool, chosen, decision, limit))
        typer.echo(f"{letters.told(done)}: retried; the relay puts them into the log")


@app.command()
def discard(
    why: Annotated[str, typer.Option(help="Kept with them.")],
    positions: Positions = None,
    projection: Projection = None,
    topic: Topic = None,
    reason: Reason = None,
    user: User = None,
    since: Since = None,
    until: Until = None,
    limit: Most = None,
    everything: Everything = False,
    yes: Yes = False,
    by: By = None,
) -> None:
    """Decide that events are never to be applied. The rows stay, with who decided it and why."""
    from projections.postgres import dead_letters as rows

    if not why.strip():
        raise _wrong("--why", "must not be empty")
    chosen = _chosen(positions, projection, topic, reason, user, since, until, (_OPEN,))
    _narrowed(chosen, everything)
    decision = _decision(by, why)
    amount = _confirmed("discard for good", chosen, limit, yes)
    if amount.letters:
        done = _ask(lambda pool: rows.discard(pool, chosen, decision, limit))
        typer.echo(f"{letters.told(done)}: discarded")


def _chosen(
    positions: list[str] | None,
    projection: list[str] | None,
    topic: list[str] | None,
    reason: str | None,
    user: str | None,
    since: str | None,
    until: str | None,
    states: tuple[Any, ...] | None,
) -> Chosen:
    from projections.postgres.dead_letters import Chosen
    from schemas.topics import TOPICS

    for name in topic or ():
        if name not in TOPICS:
            raise _wrong("--topic", f"{name!r} is none of {', '.join(TOPICS)}")
    return Chosen(
        positions=None if not positions else [_position(text) for text in positions],
        projections=projection or None,
        topics=topic or None,
        reason=reason or None,
        user=user or None,
        states=states,
        since=_moment("--since", since),
        until=_moment("--until", until),
    )


def _states(given: list[str] | None) -> tuple[Any, ...] | None:
    from projections.postgres.dead_letters import STATES

    if not given:
        return (_OPEN,)
    for state in given:
        if state != "all" and state not in STATES:
            raise _wrong("--state", f"{state!r} is none of {', '.join(STATES)}, all")
    return None if "all" in given else tuple(given)


def _position(text: str) -> Position:
    from schemas.errors import Invalid
    from schemas.position import Position

    # Offsets of a log that was given up for another one lie below zero.
    before, _, offset = text.rpartition(":")
    try:
        place = Position.parse(f"{before}:{offset.removeprefix('-')}")
        return place._replace(offset=-place.offset) if offset.startswith("-") else place
    except Invalid:
        message = f"a position is topic:partition:offset, got {text[:100]!r}"
        raise _wrong("POSITION", message) from None


def _moment(option: str, text: str | None) -> datetime | None:
    from schemas import instants
    from schemas.errors import Invalid

    if text is None:
        return None
    try:
        if len(text) == len("2026-02-12"):
            return datetime.combine(instants.day(text), datetime.min.time(), UTC)
        return instants.instant(text)
    except Invalid as error:
        raise _wrong(option, f"{error}; or a day such as 2026-02-12") from None


def _narrowed(chosen: Chosen, everything: bool) -> None:
    if chosen.is_everything and not everything:
        raise _wrong("POSITION", "name positions or a filter; --all means every open one")
    if everything and not chosen.is_everything:
        raise _wrong("--all", "says every open one, but positions or a filter are given too")


def _decision(by: str | None, why: str | None) -> Decision:
    from projections.postgres.dead_letters import Decision

    if by:
        return Decision(by, why)
    try:
        return Decision(getpass.getuser(), why)
    except (KeyError, OSError):
        raise _wrong("--by", "the system has no name for you; say who decides") from None


def _confirmed(what: str, chosen: Chosen, limit: int | None, yes: bool) -> Amount:
    from projections.postgres import dead_letters as rows

    amount = _ask(lambda pool: rows.count(pool, chosen))
    if not amount.letters:
        typer.echo("no open dead letter is meant; nothing was changed")
        return amount
    first = "" if limit is None or limit >= amount.letters else f", the first {limit}"
    if not yes:
        typer.confirm(f"{letters.told(amount)}{first}: {what}?", abort=True)
    return amount


def _ask(question: Callable[[Any], Awaitable[T]]) -> T:
    """Put a question to the database."""
    from projections.postgres.dead_letters import TooLarge
    from projections.postgres.pool import NotMigrated, open_pool
    from projections.store import RowsRefused, Unavailable

    settings = read_settings()

    async def main() -> T:
        async with open_pool(settings.postgres, size_max=1, name="streams dead-letters") as pool:
            return await question(pool)

    try:
        return asyncio.run(main())
    except (NotMigrated, RowsRefused, TooLarge, Unavailable) as error:
        raise CommandError(str(error)) from None


def _wrong(option: str, message: str) -> CommandError:
    return CommandError(f"{option}: {message}", ExitCode.SETTINGS)

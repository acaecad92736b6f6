"""How dead letters look at a terminal, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from projections.postgres.dead_letters import Amount, Letter

#: Characters of a reason in a list; `show` has all of it.
REASON_SHOWN_MAX = 100

#: Bytes of a value that is no text, in one line.
HEX_BYTES_PER_LINE = 16


def told(amount: Amount) -> str:
    """How many: letters, and records where several projections refused one."""
    letters = f"{amount.letters:,} dead letter{'' if amount.letters == 1 else 's'}"
    if amount.records == amount.letters:
        return letters
    return f"{letters} of {amount.records:,} record{'' if amount.records == 1 else 's'}"


def show_counts(by: str, counts: Iterable[tuple[str, int]], as_json: bool) -> None:
    """How many of each."""
    if as_json:
        _print_json({"counts": [{by: what, "count": count} for what, count in counts]})
        return
    for what, count in counts:
        typer.echo(f"{count:>9,}  {_safe(what) or '(none)'}")


def show_list(letters: Sequence[Letter], amount: Amount, as_json: bool) -> None:
    """One line for each, then how many there are."""
    if as_json:
        items = [_as_json(letter) for letter in letters]
        _print_json({"items": items, "letters": amount.letters, "records": amount.records})
        return
    width = max((len(str(letter.position)) for letter in letters), default=0)
    wide = max((len(letter.projection) for letter in letters), default=0)
    for letter in letters:
        reason = _safe(letter.reason)
        if len(reason) > REASON_SHOWN_MAX:
            reason = reason[:REASON_SHOWN_MAX] + " …"
        typer.echo(
            f"{letter.position!s:<{width}}  {letter.projection:<{wide}}  {letter.state:<10}"
            f"  {_time(letter.created_at)}  {reason}"
        )
    more = amount.letters - len(letters)
    typer.echo(told(amount) + (f", {more:,} of them not shown: --limit" if more > 0 else ""))


def show_records(letters: Sequence[Letter], as_json: bool) -> None:
    """Whole records, each with all who refused it."""
    if as_json:
        _print_json({"items": [_as_json(letter, whole=True) for letter in letters]})
        return
    by_place = sorted(letters, key=lambda letter: (letter.position, letter.projection))
    for position, group in groupby(by_place, lambda letter: letter.position):
        refusals = list(group)
        record = refusals[0]
        typer.echo(f"position    {position}")
        for letter in refusals:
            typer.echo(f"refused by  {letter.projection}, {_time(letter.created_at)}")
            for error in _safe(letter.reason).split("; "):
                typer.echo(f"            {error}")
            typer.echo(f"state       {letter.state}{_decided(letter)}")
        if record.event_id is not None:
            typer.echo(f"event       {_safe(record.event_id)} of {_safe(record.user_id or '-')}")
        typer.echo(f"key         {_bytes(record.key)}")
        for name, value in record.headers:
            typer.echo(f"header      {_safe(name)}: {_bytes(value)}")
        typer.echo(f"value       {_size(record.value)}")
        if record.value:
            typer.echo(_whole(record.value))


def _decided(letter: Letter) -> str:
    if letter.decided_at is None:
        return ""
    why = f": {_safe(letter.decided_why)}" if letter.decided_why else ""
    return f", decided {_time(letter.decided_at)} by {_safe(letter.decided_by or '-')}{why}"


def _as_json(letter: Letter, *, whole: bool = False) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "position": str(letter.position),
        "projection": letter.projection,
        "state": letter.state,
        "reason": letter.reason,
        "eventId": letter.event_id,
        "userId": letter.user_id,
        "createdAt": _time(letter.created_at),
        "decidedAt": letter.decided_at and _time(letter.decided_at),
        "decidedBy": letter.decided_by,
        "decidedWhy": letter.decided_why,
    }
    if whole:
        shown["key"] = _text_or_hex(letter.key)
        shown["value"] = _text_or_hex(letter.value)
        shown["headers"] = [
            {"name": name, "value": _text_or_hex(value)} for name, value in letter.headers
        ]
    return shown


def _text_or_hex(value: bytes | None) -> dict[str, str] | None:
    if value is None:
        return None
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"hex": value.hex()}


def _bytes(value: bytes | None) -> str:
    if value is None:
        return "(null)"
    try:
        return _safe(value.decode())
    except UnicodeDecodeError:
        return f"0x{value.hex()}"


def _size(value: bytes | None) -> str:
    return "(null)" if value is None else f"{len(value):,} bytes"


def _whole(value: bytes) -> str:
    try:
        return _safe(value.decode(), keep="\n\t")
    except UnicodeDecodeError:
        lines = range(0, len(value), HEX_BYTES_PER_LINE)
        return "\n".join(
            f"{start:08x}  {value[start : start + HEX_BYTES_PER_LINE].hex(' ')}" for start in lines
        )


def _safe(text: str, keep: str = "") -> str:
    """The text without what would command the terminal: it came from outside."""
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode()
        for each in text
    )


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))

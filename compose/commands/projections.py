"""`streams projections`: what there is, of which version, how far, how large."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compose.errors import CommandError
from compose.settings import Settings, read_settings

if TYPE_CHECKING:
    from projections.batch import Partition
    from projections.postgres.overview import Known, Size

ANALYTICS = "analytics"

LINE_WIDTH = 200


def projections(
    as_json: Annotated[bool, typer.Option("--json", help="All of it, positions included.")] = False,
) -> None:
    """List the projections: versions of code and tables, positions, lag, sizes, rebuilds."""
    from projections.postgres.pool import NotMigrated
    from projections.store import Broken, Unavailable
    from streams.topics import BrokerSilent

    try:
        found = asyncio.run(listed(read_settings()))
    except (Broken, BrokerSilent, NotMigrated, Unavailable) as error:
        raise CommandError(str(error)) from None
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found)


async def listed(settings: Settings) -> list[dict[str, Any]]:
    """One entry for each projection, in the order of the catalog.

    Raises:
        BrokerSilent, Unavailable: the broker or a database does not answer.
    """
    from projections.analytics.appender import Analytics
    from projections.analytics.tables import TABLES
    from projections.catalog import row_projections
    from projections.clickhouse.client import open_client
    from projections.clickhouse.rebuild import Databases
    from projections.postgres.overview import Size, overview
    from projections.postgres.pool import open_pool
    from streams.topics import log_ends

    rows = row_projections()
    code = {each.name: each.version for each in rows} | {ANALYTICS: Analytics.version}
    tables: dict[str, Sequence[str]] = {
        each.name: [table.name for table in each.tables] for each in rows
    }
    ends = await asyncio.to_thread(log_ends, settings.kafka)
    async with open_pool(settings.postgres, size_max=1, name="streams projections") as pool:
        known = await overview(pool, {**tables, ANALYTICS: ()})
    async with open_client(settings.clickhouse, name="streams projections") as client:
        databases = await Databases.of(client, settings.clickhouse, TABLES)
        sizes = await databases.sizes()
    known[ANALYTICS].size = Size(*sizes.get(databases.serving, (0, 0)))
    if databases.old in sizes:
        known[ANALYTICS].old = Size(*sizes[databases.old])
    return [_entry(each, code.get(each.name), ends) for each in known.values()]


def _entry(known: Known, code: int | None, ends: Mapping[tuple[str, int], int]) -> dict[str, Any]:
    places = sorted(known.positions)
    return {
        "name": known.name,
        "codeVersion": code,
        "tablesVersion": known.version,
        "swapping": known.swapping,
        "rebuiltAt": known.rebuilt_at and known.rebuilt_at.isoformat(),
        "events": sum(known.positions.values()),
        "lag": sum(max(0, ends.get(place, 0) - known.positions[place]) for place in places),
        "positions": {f"{p.topic}:{p.partition}": known.positions[p] for p in places},
        "size": _size(known.size),
        "old": _size(known.old),
        "rebuild": _rebuild(known),
    }


def _size(size: Size | None) -> dict[str, int] | None:
    return None if size is None else {"rows": size.rows, "bytes": size.bytes}


def _rebuild(known: Known) -> dict[str, Any] | None:
    way = known.rebuild
    if way is None:
        return None
    reached: Mapping[Partition, int] = way.positions
    return {
        "version": way.version,
        "beganAt": way.began_at.isoformat(),
        "running": way.running,
        "done": sum(reached.values()),
        "of": sum(known.positions.values()),
    }


def _show(entries: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2))
    for name in ("projection", "version", "events", "lag", "rows", "size", "rebuild"):
        right = name in ("events", "lag", "rows", "size")
        table.add_column(name, justify="right" if right else "left")
    for entry in entries:
        size = entry["size"]
        table.add_row(
            entry["name"],
            _versions(entry),
            f"{entry['events']:,}",
            f"{entry['lag']:,}",
            "-" if size is None else f"{size['rows']:,}",
            "-" if size is None else _bytes(size["bytes"]),
            _said(entry),
        )
    # What reads a pipe has no width; its lines must not be folded.
    Console(width=None if sys.stdout.isatty() else LINE_WIDTH).print(table)


def _versions(entry: Mapping[str, Any]) -> str:
    code, tables = entry["codeVersion"], entry["tablesVersion"]
    if code == tables or tables is None:
        return str(code)
    return f"{tables}, code {'-' if code is None else code}"


def _said(entry: Mapping[str, Any]) -> str:
    parts = []
    if way := entry["rebuild"]:
        share = way["done"] / way["of"] if way["of"] else 1.0
        state = "running" if way["running"] else "interrupted, call it again"
        parts.append(f"to version {way['version']}: {share:.0%}, {state}")
    elif entry["swapping"]:
        parts.append("swapping")
    if old := entry["old"]:
        parts.append(f"old tables kept: {_bytes(old['bytes'])}")
    code, tables = entry["codeVersion"], entry["tablesVersion"]
    if code is not None and tables not in (None, code):
        parts.append(f"needs: streams rebuild {entry['name']}")
    return "; ".join(parts)


def _bytes(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:,.0f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"

"""`streams` with a next version of net worth: it tells its rows from those of the version before.

Every posting counts a million times, and the names of accounts say so.
"""

from __future__ import annotations

from typing import Any

import msgspec

from compose.cli import main
from projections import catalog
from projections.net_worth.projection import NetWorth
from projections.projection import Projection
from projections.rows import Rows
from schemas.envelope import Event

FACTOR = 1_000_000
SUFFIX = " (next)"


class Changed:
    """The data of an event with other amounts and names."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._data, name)
        if name == "amount":
            return value * FACTOR
        return value + SUFFIX if name == "name" and value else value


class NextNetWorth(NetWorth):
    version = NetWorth.version + 1

    def fold(self, rows: Rows, event: Event) -> None:
        if event.type.startswith("bfc."):
            event = msgspec.structs.replace(event, data=Changed(event.data))
        super().fold(rows, event)


def with_next(projections: tuple[Projection, ...]) -> tuple[Projection, ...]:
    return tuple(NextNetWorth() if each.name == "net_worth" else each for each in projections)


if __name__ == "__main__":
    present = catalog.row_projections()
    catalog.row_projections = lambda: with_next(present)
    main()

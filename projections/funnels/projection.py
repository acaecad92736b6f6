"""Definitions of funnels from the log; an answer is a query (``view``), not a fold."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from projections.funnels.definition import Definition
from projections.rows import Rows
from projections.tables import Row, Table, Want
from schemas.envelope import Event
from schemas.events.app import FunnelDefined

DEFINED, REMOVED = "app.funnel.defined", "app.funnel.removed"


class FunnelDefinition(Row, frozen=True):
    """The newest word of one partition on a funnel; ``definition`` is None if it was removed.

    Commands of different people stand in different partitions, which have no order and are
    folded by different lanes. So each keeps its own row, and whoever reads takes the newest.
    """

    name: str
    partition: int
    log_offset: int
    at: datetime
    user_id: str
    definition: dict[str, Any] | None


FUNNEL_DEFINITIONS = Table(
    "funnel_definitions", FunnelDefinition, key=("name", "partition"), unit=2
)


class FunnelDefinitions:
    """Keeps what people say funnels are."""

    name = "funnels"
    version = 1
    topics = ("app.commands",)
    types = frozenset({DEFINED, REMOVED})
    tables = (FUNNEL_DEFINITIONS,)
    follows_commands = False

    def wants(self, event: Event) -> Iterable[Want]:
        """Nothing: the newest command of a partition stands alone."""
        return ()

    def fold(self, rows: Rows, event: Event) -> None:
        definition = None
        if event.type == DEFINED:
            definition = _checked(rows, event.data)
        rows.put(
            FUNNEL_DEFINITIONS,
            FunnelDefinition(
                name=event.data.name,
                partition=event.position.partition,
                log_offset=event.position.offset,
                at=event.ingested_at,
                user_id=event.user_id or "",
                definition=definition,
            ),
        )


def _checked(rows: Rows, data: FunnelDefined) -> dict[str, Any]:
    try:
        definition = Definition.model_validate({"name": data.name, **data.definition})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        rows.refuse(".".join(["data.definition", *map(str, first["loc"])]), first["msg"])
    if definition.name != data.name:
        rows.refuse("data.definition.name", "is not the name of the command")
    return definition.wire()

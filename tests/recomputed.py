"""A whole log folded again in memory, and what the databases have instead of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from projections.batch import Partition
from projections.memory import MemoryIndex, MemoryStore, apply_to
from projections.postgres import statements
from projections.projection import Projection
from projections.projector import Projector
from projections.tables import Key, Table
from schemas.codec import RawRecord, Unreadable, decode_batch
from schemas.envelope import Draft, Event
from schemas.limits import partitions_embedded
from schemas.topics import TOPICS
from tests.reference_funnel import Fact
from tests.reference_net_worth import Logged

_COUNTS = dict.fromkeys(TOPICS, partitions_embedded)


@dataclass(frozen=True)
class Refolded:
    """What a projection makes of a log.

    ``derived`` has the derived events by the partition that their causes lie in, each list in the
    order of the causes.
    """

    store: MemoryStore
    derived: dict[Partition, list[Draft]]


def decoded(records: Iterable[RawRecord]) -> list[Event | Unreadable]:
    """The records as the worker decodes them."""
    return decode_batch(records, partitions=_COUNTS)


def by_place(events: Iterable[Event]) -> dict[Partition, list[Event]]:
    """Events by their partition, in the order given."""
    places: dict[Partition, list[Event]] = {}
    for event in events:
        places.setdefault(Partition(*event.position[:2]), []).append(event)
    return places


async def refolded(projection: Projection, log: Sequence[RawRecord]) -> Refolded:
    """The log folded in memory: commands first, one partition after the other, whole."""
    events = [event for event in decoded(log) if isinstance(event, Event)]
    return await refolded_events(projection, by_place(events))


async def refolded_events(projection: Projection, places: dict[Partition, list[Event]]) -> Refolded:
    """The same for a log that is decoded already."""
    store, index = MemoryStore(), MemoryIndex()
    projector = Projector(projection, store)
    derived: dict[Partition, list[Draft]] = {}
    for place in sorted(places, key=lambda place: (place.topic != "app.commands", place)):
        if place.topic in projection.topics:
            known = len(store.derived)
            await apply_to(projector, places[place], index)
            derived[place] = store.derived[known:]
    return Refolded(store, derived)


async def rows_of(connection: Any, table: Table[Any]) -> dict[Key, Any]:
    """The rows of a table in PostgreSQL by their keys, as folds see them."""
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    records = await connection.fetch(f"select {columns} from {table.name}")
    rows = [statements.row_of(table, record) for record in records]
    return {table.key_of(row): row for row in rows}


def facts_of(logged: Iterable[Logged]) -> list[Fact]:
    """What the reference of funnels reads: each (source, id) once."""
    seen = set()
    found = []
    for entry in logged:
        event = entry.event
        if (event["source"], event["id"]) in seen:
            continue
        seen.add((event["source"], event["id"]))
        moment = datetime.fromisoformat(event["time"])
        found.append(
            Fact(
                round(moment.timestamp() * 1000),
                entry.topic,
                entry.partition,
                entry.offset,
                event["type"].rpartition(".v")[0],
                event["data"],
                event.get("userid"),
            )
        )
    return found


def execution_item(one: dict[str, Any]) -> dict[str, Any]:
    """An execution of the reference of rules as the list of executions shows it, without ids."""
    time: datetime = one["time"]
    return {
        "id": "",
        "ruleId": one["rule"],
        "ruleVersion": one["version"],
        "event": one["event"],
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "outcome": one["outcome"],
        "reason": one["reason"],
        "actions": one["actions"],
    }


def without_ids(item: dict[str, Any]) -> dict[str, Any]:
    """An execution as the list shows it, without the ids that the product chose."""
    actions = [
        {name: value for name, value in action.items() if name != "action"}
        for action in item["actions"]
    ]
    return {**item, "id": "", "actions": actions}

"""Logs with rules in them, made as gateway and producers would, and ways to fold them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from projections.memory import MemoryIndex, MemoryStore, apply_to
from projections.projector import Projector
from projections.rules.definition import bearing_topics, parse
from projections.rules.projection import Rules
from schemas.codec import RawRecord, Unreadable, decode_record
from schemas.envelope import Draft, Event
from schemas.instants import milliseconds
from schemas.topics import partition_of
from tests.builders import T0, draft, record_of
from tests.reference_rules import Entry

PARTITIONS = 2
COMMANDS = "app.commands"

SAVE_A_FIFTH: dict[str, Any] = {
    "name": "Save a fifth",
    "status": "active",
    "trigger": {
        "type": "transaction",
        "direction": "credit",
        "category": "salary",
        "account": "acc_9f2",
    },
    "conditions": [{"field": "amount", "op": "gte", "value": "5000"}],
    "actions": [
        {"type": "transfer", "from": "acc_9f2", "to": "acc_sav", "percentage": "20"},
        {"type": "notify", "priority": "medium", "message": "Saved {amount}"},
    ],
    "requiresApproval": False,
    "cooldownSeconds": 0,
    "maxExecutionsPerDay": 10,
    "timezone": "Asia/Kolkata",
    "expiresAt": None,
}


def rule_with(trigger: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    """A definition that notifies, with these members."""
    actions = [{"type": "notify", "message": "It happened"}]
    return parse({"name": "A rule", "trigger": trigger, "actions": actions, **members})


class Log:
    """A log that grows: ``append`` gives each draft the next place of its partition."""

    def __init__(self) -> None:
        self.records: list[RawRecord] = []
        self.events: list[Event] = []
        self.ends: dict[tuple[str, int], int] = {}
        self.definitions: dict[tuple[str, str], dict[str, Any]] = {}
        #: Later than all event times: everything may be late.
        self.clock: datetime = T0 + timedelta(days=7)
        #: Called when a command has asked for the ends and is about to be appended.
        self.between: Callable[[Log], None] = lambda _: None
        #: Milliseconds from one record to the next.
        self.step: Callable[[], int] = lambda: 10

    def append(self, made: Draft) -> Event:
        self.clock += timedelta(milliseconds=self.step())
        record = record_of(made, partitions=PARTITIONS, ingested=self.clock)
        place = (record.topic, record.partition)
        record = record._replace(offset=self.ends.get(place, 0))
        self.ends[place] = record.offset + 1
        event = decode_record(record)
        assert not isinstance(event, Unreadable), event.reason
        self.records.append(record)
        self.events.append(event)
        return event

    def define(
        self,
        rule: str,
        definition: Mapping[str, Any],
        *,
        user: str = "usr_17",
        effective: bool = True,
        **rest: Any,
    ) -> Event:
        """Create or change a rule, with the ends that the gateway would name."""
        before = self.definitions.get((user, rule))
        self.definitions[user, rule] = dict(definition)
        bearing = bearing_topics(definition, user)
        if before:
            bearing |= bearing_topics(before, user)
        data = {
            "rule": rule,
            "version": rest.pop("version", 2 if before else 1),
            "definition": dict(definition),
            "effective": self.ends_of(bearing) if effective else {},
        }
        type = "app.rule.changed" if before else "app.rule.created"
        self.between(self)
        return self.append(draft(type, data, user=user, time=self.clock, **rest))

    def delete(self, rule: str, *, user: str = "usr_17", effective: bool = True) -> Event:
        bearing = bearing_topics(self.definitions[user, rule], user)
        data = {"rule": rule, "effective": self.ends_of(bearing) if effective else {}}
        self.between(self)
        return self.append(draft("app.rule.deleted", data, user=user, time=self.clock))

    def prefer(self, zone: str, *, user: str = "usr_17", effective: bool = True) -> Event:
        bearing = [("bfc.ledger", user), ("rules.triggered", user)]
        data = {
            "preferences": {"timezone": zone},
            "effective": self.ends_of(bearing) if effective else {},
        }
        self.between(self)
        return self.append(draft("app.preferences.changed", data, user=user, time=self.clock))

    def ends_of(self, bearing: Iterable[tuple[str, str]]) -> dict[str, int]:
        places = [(topic, partition_of(key.encode(), PARTITIONS)) for topic, key in bearing]
        return {f"{topic}:{part}": self.ends.get((topic, part), 0) for topic, part in places}

    def repeat(self, number: int) -> None:
        """A producer sends an event again: the same source and id at a later offset."""
        record = self.records[number % len(self.records)]
        place = (record.topic, record.partition)
        self.clock += timedelta(milliseconds=self.step())
        again = record._replace(offset=self.ends[place], timestamp=milliseconds(self.clock))
        self.ends[place] += 1
        event = decode_record(again)
        assert isinstance(event, Event)
        self.records.append(again)
        self.events.append(event)

    def entries(self) -> list[Entry]:
        return [
            Entry(*event.position, event.ingested_at, msgspec.json.decode(event.raw))
            for event in self.events
        ]


class Folding:
    """One lane for each partition of people and one for each of symbols, over one store."""

    def __init__(self, store: Any = None, index: Any = None) -> None:
        self.store = store or MemoryStore()
        self._index = index or MemoryIndex()
        self._lanes: dict[tuple[bool, int], Projector] = {}

    async def fold(self, events: Sequence[Event]) -> None:
        """Apply one batch of events of one partition."""
        position = events[0].position
        lane = (position.topic == "market.prices", position.partition)
        projector = self._lanes.setdefault(lane, Projector(Rules(), self.store))
        await apply_to(projector, events, self._index)


async def live(log: Log, drafts: Iterable[Any]) -> MemoryStore:
    """Append and fold one by one, crossings included, as it would happen live.

    ``drafts`` holds drafts, and functions that append to the log by themselves.
    """
    folding, folded, handed = Folding(), len(log.events), 0
    for made in drafts:
        if isinstance(made, Draft):
            log.append(made)
        else:
            made(log)
        while folded < len(log.events):
            await folding.fold([log.events[folded]])
            folded += 1
            derived = folding.store.derived
            for crossing in derived[handed:]:
                if crossing.type == "rule.crossed.v1":
                    log.append(crossing)
            handed = len(derived)
    return folding.store


def shuffled(log: Log, chance: random.Random) -> list[list[Event]]:
    """Batches of random length; partitions in any order in which commands go first.

    A batch waits for the commands that were in the log before its last event: those of its own
    people, or of all people where it is about symbols.
    """
    queues: dict[tuple[str, int], list[tuple[int, Event]]] = {}
    for number, event in enumerate(log.events):
        queues.setdefault(event.position[:2], []).append((number, event))
    batches = []
    while queues := {place: queue for place, queue in queues.items() if queue}:
        place = chance.choice(sorted(queues))
        queue = queues[place]
        length = chance.randint(1, min(len(queue), 5))
        while length and not _is_ready(queue[length - 1][0], place, queues):
            length -= 1
        batches.append([event for _, event in queue[:length]])
        del queue[:length]
    return [batch for batch in batches if batch]


def _is_ready(
    number: int, place: tuple[str, int], queues: Mapping[tuple[str, int], list[tuple[int, Event]]]
) -> bool:
    topic, partition = place
    if topic == COMMANDS:
        return True
    return all(
        queue[0][0] > number
        for (other, own), queue in queues.items()
        if other == COMMANDS and queue and (own == partition or topic == "market.prices")
    )


def commands_first(log: Log) -> list[list[Event]]:
    """As a rebuild reads it: all commands, then topic by topic, each partition in one batch."""
    queues: dict[tuple[str, int], list[Event]] = {}
    for event in log.events:
        queues.setdefault(event.position[:2], []).append(event)
    return [queues[place] for place in sorted(queues, key=lambda place: place[0] != COMMANDS)]


async def refold(batches: Iterable[Sequence[Event]], folding: Folding | None = None) -> Any:
    folding = folding or Folding()
    for batch in batches:
        await folding.fold(batch)
    return folding.store

"""Notifications are a function of the log alone, and the one that the reference computes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.memory import MemoryStore, run
from projections.notifications.projection import Notifications
from projections.notifications.tables import FURTHER_EVENTS, NOTIFICATIONS, PREFERENCES, TABLES
from projections.tables import Row, Want
from schemas.codec import encode
from schemas.envelope import Event
from tests.builders import draft
from tests.notification_logs import PARTITIONS, TOPICS, Log, build, hurried, steps
from tests.reference_notifications import entries_of, notifications_of, raised_of

COMMANDS = "app.commands"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([2, 5, 15, 40]))
async def test_any_batch_split_and_any_order_of_topics_give_the_same(seed: int, size: int) -> None:
    chance = random.Random(seed)
    log = await with_timers(steps(chance, size), chance)
    events = log.events()
    one_by_one = await fold([[event] for event in events])
    assert state(await fold(shuffled(events, chance))) == state(one_by_one)
    assert state(await fold(commands_first(events))) == state(one_by_one)
    agrees_with_the_reference(log, one_by_one)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([5, 40]))
async def test_what_a_batch_reads_is_loaded_before_it_is_folded(seed: int, size: int) -> None:
    chance = random.Random(seed)
    events = (await with_timers(steps(chance, size), chance)).events()
    store = Asked()
    for batch in commands_first(events):
        store.questions.clear()
        await run(Notifications(), [batch], store)
        late = [want.table for wants in store.questions[2:] for want in wants]
        assert PREFERENCES not in late and NOTIFICATIONS not in late


class Asked(MemoryStore):
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[Sequence[Want]] = []

    async def load(self, wants: Sequence[Want]) -> Mapping[Want, Sequence[Row]]:
        self.questions.append(wants)
        return await super().load(wants)


async def with_timers(history: Sequence[dict[str, Any]], chance: random.Random) -> Log:
    """The log of a history in which, now and then, timers that were set have fired."""
    log = hurried(Log(), history, chance)
    for number, step in enumerate(history):
        build(log, step, number)
        if chance.random() < 0.1:
            await fire(log, chance)
    if chance.random() < 0.7:
        await fire(log, chance)
    return log


async def fire(log: Log, chance: random.Random) -> None:
    timers = (await fold([[event] for event in log.events()])).timers
    for (projection, user, name), timer in timers.items():
        if chance.random() < 0.6:
            data = {"timer": name, "projection": projection, "payload": timer.payload}
            made = draft("app.timer.fired", data, user=user, time=timer.due, id=f"fired-{name}")
            log.append(made)


async def fold(batches: Sequence[Sequence[Event]]) -> MemoryStore:
    store = await run(Notifications(), batches)
    assert not store.dead_letters
    return store


def state(store: MemoryStore) -> tuple[Any, ...]:
    derived = {made.id: encode(made) for made in store.derived}
    assert len(derived) == len(store.derived)
    return [store.table(table) for table in TABLES], derived, store.timers


def shuffled(events: Sequence[Event], chance: random.Random) -> list[list[Event]]:
    """Batches of random length, partitions in any order that lets commands go first.

    A source batch waits for the commands that were in the log before its last event.
    """
    queues: dict[tuple[str, int], list[tuple[int, Event]]] = {}
    for place, event in enumerate(events):
        key = (event.position.topic, event.position.partition)
        queues.setdefault(key, []).append((place, event))
    batches = []
    while queues:
        key = chance.choice(sorted(queues))
        queue = queues[key]
        batch = queue[: chance.randint(1, len(queue))]
        waiting = queues.get((COMMANDS, key[1]), [])
        if key[0] != COMMANDS and waiting and waiting[0][0] < batch[-1][0]:
            continue
        batches.append([event for _, event in batch])
        del queue[: len(batch)]
        if not queue:
            del queues[key]
    return batches


def commands_first(events: Sequence[Event]) -> list[list[Event]]:
    """As a rebuild reads: whole partitions, commands before all others, then from the last."""
    return [
        [event for event in events if event.position[:2] == (topic, partition)]
        for topic in (COMMANDS, *reversed(TOPICS[1:]))
        for partition in range(PARTITIONS)
    ]


def agrees_with_the_reference(log: Log, store: MemoryStore) -> None:
    entries = list(entries_of(log.records))
    wanted = notifications_of(entries)
    found = {str(row.notification): row for row in store.table(NOTIFICATIONS)}
    assert found.keys() == wanted.keys()
    for name, row in found.items():
        said = wanted[name]
        further = [
            other.event
            for other in store.table(FURTHER_EVENTS)
            if other.notification == row.notification
        ]
        assert row.user_id == said["user"]
        assert (row.category, row.priority, row.type) == (
            said["category"],
            said["priority"],
            said["type"],
        )
        assert row.count == said["count"]
        assert [*row.events, *further] == said["events"]
        totals = [{"amount": t.amount, "currency": t.currency} for t in row.totals]
        assert totals == said["totals"]
        assert (row.opened_at, row.updated_at) == (said["openedAt"], said["updatedAt"])
        assert row.deliver_at == said["deliverAt"]
        assert row.channels == said["channels"]
    raised = {made.id: (made.data["notification"], made.data["count"]) for made in store.derived}
    assert raised == raised_of(entries)

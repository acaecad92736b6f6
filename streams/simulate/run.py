"""Sending what is simulated: the history as fast as it goes, live traffic at a chosen rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from threading import Event as Flag
from typing import Protocol

from schemas.envelope import Draft, topic_of
from schemas.topics import APP_COMMANDS
from streams.simulate.world import World

POSTED_AT_ONCE = 1_000
"""Events between two looks at the delivery reports and the progress bar."""

BEAT_SECONDS = 0.05
"""Live events are sent in beats: twenty a second look continuous and cost little."""


class Sender(Protocol):
    """What is needed of the producer (SyncProducer has it)."""

    def post(self, drafts: Sequence[Draft]) -> None: ...

    def flush(self) -> int: ...


Progress = Callable[[int, datetime], None]
"""Told now and then: events sent so far, and the time that history has come to."""


def send_history(sender: Sender, world: World, progress: Progress, stop: Flag) -> int:
    """All of it, unless stopped; returns how many events the log has got.

    Raises what the sender raises.
    """
    sent = 0
    history = world.history()
    while (part := list(islice(history, POSTED_AT_ONCE))) and not stop.is_set():
        _post(sender, part)
        sent += len(part)
        progress(sent, part[-1].time)
    sender.flush()
    return sent


def send_live(
    sender: Sender,
    world: World,
    rate: float,
    stop: Flag,
    *,
    progress: Progress,
    events_max: int | None = None,
) -> int:
    """`rate` events a second, stamped with the present, until stopped or `events_max` are sent.

    The simulated days go by as fast as the rate demands; returns how many events were sent.
    """
    drafts: Iterator[Draft] = islice(world.live(_Present()), events_max)
    sent, began = 0, time.monotonic()
    while not stop.is_set():
        due = int((time.monotonic() - began) * rate) - sent
        part = list(islice(drafts, due))
        if due > 0 and not part:
            break
        if part:
            _post(sender, part)
            sent += len(part)
            progress(sent, part[-1].time)
        stop.wait(BEAT_SECONDS)
    sender.flush()
    return sent


def _post(sender: Sender, part: Sequence[Draft]) -> None:
    """People wait for the answer to a command before they go on, and so does this.

    A command that names no positions takes effect by the records' timestamps. Sent among other
    events, it could reach the log behind some that are stamped later, on a broker that keeps the
    producers' stamps; a view folded live and one that is rebuilt would then disagree.
    """
    commands = [draft for draft in part if topic_of(draft) is APP_COMMANDS]
    if commands:
        sender.flush()
        sender.post(commands)
        sender.flush()
    sender.post([draft for draft in part if topic_of(draft) is not APP_COMMANDS])


class _Present:
    """The wall clock, never going backwards."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self, agenda: int) -> int:
        self._last = max(self._last, time.time_ns() // 1_000_000)
        return self._last

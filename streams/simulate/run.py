"""Sending what is simulated: the history as fast as it goes, live traffic at a chosen rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from threading import Event as Flag
from typing import Protocol

from schemas.envelope import Draft
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
        sender.post(part)
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
            sender.post(part)
            sent += len(part)
            progress(sent, part[-1].time)
        stop.wait(BEAT_SECONDS)
    sender.flush()
    return sent


class _Present:
    """The wall clock, never going backwards."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self, agenda: int) -> int:
        self._last = max(self._last, time.time_ns() // 1_000_000)
        return self._last

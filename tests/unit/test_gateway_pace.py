"""How long the tail lets the broker gather records."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiokafka.consumer.fetcher import Fetcher

from gateway.tail.kafka import BUSY_ROUNDS, GATHER_BYTES, GATHER_MS, Pace

IDLE = (1, 20)
BUSY = (GATHER_BYTES, GATHER_MS)


class Reader:
    """A client whose answers come when the test says so."""

    def __init__(self) -> None:
        self.fetcher = SimpleNamespace(_fetch_min_bytes=IDLE[0], _fetch_max_wait_ms=IDLE[1])
        self.now = 0.0
        client: Any = SimpleNamespace(_fetcher=self.fetcher)
        self._pace = Pace(client, lambda: self.now)

    def answered(self, seconds: float, rounds: int, found: bool = True) -> tuple[int, int]:
        for _ in range(rounds):
            self.now += seconds
            self._pace.note(found)
        return self.fetcher._fetch_min_bytes, self.fetcher._fetch_max_wait_ms


def test_what_the_pace_sets_is_what_a_fetch_asks_with() -> None:
    """Setting a name that aiokafka does not know would do nothing, and nobody would notice."""
    asks = Fetcher._get_actions_per_node.__code__.co_names
    assert {"_fetch_min_bytes", "_fetch_max_wait_ms"} <= set(asks)


def test_what_comes_now_and_then_is_not_waited_with() -> None:
    assert Reader().answered(0.05, 3 * BUSY_ROUNDS) == IDLE
    assert Reader().answered(0.001, BUSY_ROUNDS - 1) == IDLE


def test_a_steady_stream_is_gathered_for_as_long_as_it_lasts() -> None:
    reader = Reader()
    assert reader.answered(0.001, BUSY_ROUNDS) == BUSY
    # Gathering itself makes the rounds as long as that.
    assert reader.answered(GATHER_MS / 1000, 3 * BUSY_ROUNDS) == BUSY
    assert reader.answered(0.05, BUSY_ROUNDS) == IDLE


def test_silence_ends_it_at_once() -> None:
    reader = Reader()
    assert reader.answered(0.001, BUSY_ROUNDS) == BUSY
    assert reader.answered(0.1, 1, found=False) == IDLE
    assert reader.answered(0.001, BUSY_ROUNDS - 1) == IDLE

"""Log lines of long-running processes: what a library says over and over comes once in a while."""

from __future__ import annotations

import logging

import pytest

from compose.running import REPEAT_SECONDS, Repeats


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def repeats(clock: Clock) -> Repeats:
    return Repeats(clock)


def said(repeats: Repeats, name: str, message: str, *given: object) -> str | None:
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, given, None)
    return record.getMessage() if repeats.filter(record) else None


def test_the_same_line_comes_once_and_then_with_how_often_it_did(
    repeats: Repeats, clock: Clock
) -> None:
    assert said(repeats, "aiokafka", "no connection to %s", 1) == "no connection to 1"
    for node in (2, 3):
        assert said(repeats, "aiokafka", "no connection to %s", node) is None
    clock.now = REPEAT_SECONDS
    line = said(repeats, "aiokafka", "no connection to %s", 4)
    assert line == "no connection to 4 (and 2 like it before)"
    clock.now = 2 * REPEAT_SECONDS
    assert said(repeats, "aiokafka", "no connection to %s", 5) == "no connection to 5"


def test_other_lines_and_our_own_always_come(repeats: Repeats) -> None:
    for name, message in (("aiokafka", "a"), ("aiokafka", "b"), ("aiokafka.consumer", "a")):
        assert said(repeats, name, message) == message
    for _ in range(3):
        assert said(repeats, "streams.relay", "waits") == "waits"


def test_lines_that_are_all_different_are_not_kept_without_end(repeats: Repeats) -> None:
    for number in range(5_000):
        assert said(repeats, "aiokafka", f"{number}") == f"{number}"
    assert len(repeats._lines) <= 1_000

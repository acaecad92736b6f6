"""What a rebuild says of its progress to programs."""

from __future__ import annotations

from typing import Any

from compose.rebuild_progress import Lines
from projections.rebuild import Standing


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_a_second_and_one_for_each_phase() -> None:
    written: list[dict[str, Any]] = []
    clock = Clock()
    tell = Lines("net_worth", written.append, clock)
    tell(Standing("replaying", 1_000, 10_000))
    clock.now += 0.5
    tell(Standing("replaying", 2_000, 10_000))
    clock.now += 0.5
    tell(Standing("replaying", 3_000, 10_000))
    tell(Standing("catching up", 9_000, 10_000))
    tell.end()
    assert [(line["phase"], line["done"]) for line in written] == [
        ("replaying", 1_000),
        ("replaying", 3_000),
        ("catching up", 9_000),
        ("done", 9_000),
    ]


def test_the_rate_is_of_this_run_and_the_time_left_follows_from_it() -> None:
    written: list[dict[str, Any]] = []
    clock = Clock()
    tell = Lines("net_worth", written.append, clock)
    tell(Standing("replaying", 4_000, 10_000))
    assert written[-1]["rate"] == 0
    assert written[-1]["etaSeconds"] is None
    clock.now += 2.0
    tell(Standing("replaying", 6_000, 10_000))
    assert written[-1] == {
        "projection": "net_worth",
        "phase": "replaying",
        "done": 6_000,
        "of": 10_000,
        "rate": 1_000,
        "etaSeconds": 4.0,
    }

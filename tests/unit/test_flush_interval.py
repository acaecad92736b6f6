"""How often rows are flushed: the slower the store, the less often, within bounds."""

from __future__ import annotations

import pytest

from projections.analytics.flusher import (
    FLUSH_INTERVAL_SECONDS,
    FLUSH_INTERVAL_SECONDS_MAX,
    FLUSH_SHARE,
    flush_interval,
)


@pytest.mark.parametrize(
    ("took", "wanted"),
    [
        (0.0, FLUSH_INTERVAL_SECONDS),
        (FLUSH_INTERVAL_SECONDS * FLUSH_SHARE, FLUSH_INTERVAL_SECONDS),
        (0.1, 0.4),
        (FLUSH_INTERVAL_SECONDS_MAX, FLUSH_INTERVAL_SECONDS_MAX),
        (60.0, FLUSH_INTERVAL_SECONDS_MAX),
    ],
)
def test_a_flush_takes_its_share_of_the_time(took: float, wanted: float) -> None:
    assert flush_interval(took) == pytest.approx(wanted)

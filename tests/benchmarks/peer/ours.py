"""Our contestant: `streams` as it is, with one projection in the catalog.

Everything else is the product's: composition, decoding and its checks, index of first positions,
fencing, dead letters, watchdog, relay. Beside it only the moment is noted at which the first
records are in hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compose.cli import main
from projections import catalog
from projections.intake import Intake
from tests.benchmarks.peer.contestants.given import mark_first
from tests.benchmarks.peer.projection import Peer


def noting(read: Callable[..., Any]) -> Callable[..., Any]:
    """The same, which first tells that records have come."""

    def noted(*args: Any, **kwargs: Any) -> Any:
        mark_first()
        return read(*args, **kwargs)

    return noted


if __name__ == "__main__":
    catalog.row_projections = lambda: (Peer(),)
    Intake.read = noting(Intake.read)  # type: ignore[method-assign]
    main()

"""`streams worker` with a frame of its own for each projection, so that a sampling profiler sees
whose rows are loaded, folded and written. Nothing else differs.

    python -m tests.benchmarks.profiled_worker --ready-file FILE
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FunctionType
from typing import Any

from compose.cli import main
from projections.catalog import row_projections
from projections.projector import Projector
from tests.benchmarks.stages import LANE_FRAME


def name_frames() -> None:
    """Let `Projector.apply` run under the name of its projection."""
    clones = {
        projection.name: _renamed(Projector.apply, f"{LANE_FRAME}{projection.name}")
        for projection in row_projections()
    }

    async def apply(self: Projector, batches: Sequence[Any]) -> Any:
        return await clones[self.projection.name](self, batches)

    Projector.apply = apply  # type: ignore[method-assign]


def _renamed(function: Any, name: str) -> Any:
    code = function.__code__.replace(co_name=name, co_qualname=name)
    return FunctionType(code, function.__globals__, name, function.__defaults__)


if __name__ == "__main__":
    name_frames()
    sys.argv[1:1] = ["worker"]
    main()

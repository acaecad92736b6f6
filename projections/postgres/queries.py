"""SQL files as named blocks: ``-- name: some_name`` starts a block, its next comment says why."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)


@cache
def load(package: str, file: str = "queries.sql") -> dict[str, str]:
    """The blocks of a package's SQL file by their names."""
    text = (files(package) / file).read_text()
    parts = _NAME.split(text)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))

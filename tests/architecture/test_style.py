"""Style that a test can hold: sizes of files, functions and constructors, and no leftovers."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "projections", "streams", "gateway", "compose")
TOP_LEVEL = {*PACKAGES, "pyproject.toml", "tests", "Makefile", "README.md"}

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
CONSTRUCTOR_PARAMETERS_MAX = 8

LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK|breakpoint\(\)|print\(f?\"debug)")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(line) for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def sources() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and path.parts[0] in PACKAGES]


def definitions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_only_the_agreed_top_level() -> None:
    found = {path.parts[0] for path in tracked() if not path.parts[0].startswith(".")}
    assert found <= TOP_LEVEL


def test_files_are_short() -> None:
    long = {
        str(path): lines
        for path in sources()
        if (lines := len((ROOT / path).read_text().splitlines())) > FILE_LINES_MAX
    }
    assert not long


def test_functions_are_short() -> None:
    long = {
        f"{path}:{node.name}": lines
        for path in sources()
        for node in definitions(path)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert not long


def test_constructors_take_few_parameters() -> None:
    wide = {
        f"{path}:{node.lineno}": count
        for path in sources()
        for node in definitions(path)
        if node.name == "__init__"
        and (count := len(node.args.args + node.args.kwonlyargs) - 1) > CONSTRUCTOR_PARAMETERS_MAX
    }
    assert not wide


@pytest.mark.parametrize("folder", PACKAGES)
def test_no_leftovers(folder: str) -> None:
    found = {
        f"{path}:{number}": line.strip()
        for path in sources()
        if path.parts[0] == folder
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if LEFTOVERS.search(line)
    }
    assert not found

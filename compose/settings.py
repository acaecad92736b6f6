"""The settings of every process, read once from the environment and validated as a whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compose.errors import CommandError
from compose.exit_codes import ExitCode
from schemas import limits

PREFIX = "STREAMS_"


class SettingsWrong(CommandError):
    """A setting is missing or wrong; the message names each and what it takes."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.SETTINGS)


class Settings(BaseModel):
    """Where the infrastructure is, and what this installation is called."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kafka: str = Field(
        pattern=r"^[^,:\s]+:\d+(,[^,:\s]+:\d+)*$", description="host:port[,host:port]"
    )
    postgres: str = Field(
        pattern=r"^postgres(ql)?://", description="postgresql://user@host/database"
    )
    clickhouse: str = Field(pattern=r"^https?://", description="http://host:port")
    tenant: str = Field("bfc", min_length=1, description="the tenantid of this installation")
    partitions: int = Field(
        limits.partitions_default, ge=1, le=10_000, description="partitions of each topic"
    )
    folder: Path = Field(Path(".local"), description="a folder for files of its own")
    worker_host: str = Field(
        "127.0.0.1", min_length=1, description="the address that a worker answers on"
    )
    worker_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="the port where a worker tells its health; 0 takes any free one",
    )
    stall_seconds: float = Field(
        20.0,
        ge=1,
        le=3600,
        description="seconds that a partition may stand still before the worker begins anew",
    )


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of the environment, completed by the local stack that runs in its folder.

    Raises:
        SettingsWrong: a setting is missing or wrong.
    """
    given = {
        name: environ[PREFIX + name.upper()]
        for name in Settings.model_fields
        if environ.get(PREFIX + name.upper())
    }
    try:
        return Settings.model_validate({**_of_local_stack(environ), **given})
    except ValidationError as error:
        lines = [_line(str(item["loc"][0]), item["msg"]) for item in error.errors()]
        raise SettingsWrong("\n".join(lines)) from None


def _of_local_stack(environ: Mapping[str, str]) -> dict[str, str]:
    from compose.local import state

    named = environ.get(state.FOLDER_VARIABLE)
    folder = state.folder_of(Path(named) if named else None)
    running = state.running(folder)
    if running is None:
        return {}
    return {
        **running.addresses,
        "partitions": str(limits.partitions_embedded),
        "folder": str(folder),
    }


def _line(name: str, message: str) -> str:
    takes = Settings.model_fields[name].description
    return (
        f"{PREFIX}{name.upper()}: {message}; it takes {takes}."
        " `streams local up` starts a stack that needs no settings."
    )

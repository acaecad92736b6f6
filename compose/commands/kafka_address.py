"""Which broker a command talks to: the one it is told, else that of the settings."""

from __future__ import annotations

from typing import Annotated

import typer

from compose.running import EXIT_SETTINGS, fail
from compose.settings import SettingsWrong, read_settings

Kafka = Annotated[
    str | None,
    typer.Option(
        help="host:port of the broker. Default: STREAMS_KAFKA, else the local stack's.",
        metavar="HOST:PORT",
    ),
]


def broker_and_tenant(kafka: str | None) -> tuple[str, str]:
    """Address and tenant; ends the command when neither option nor settings name a broker."""
    from schemas.codec import TENANT

    if kafka:
        return kafka, TENANT
    try:
        settings = read_settings()
    except SettingsWrong as error:
        raise fail(str(error), EXIT_SETTINGS) from None
    return settings.kafka, settings.tenant

"""Which broker a command talks to: the one it is told, else that of the settings."""

from __future__ import annotations

from typing import Annotated

import typer

from compose.settings import read_settings

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
    settings = read_settings()
    return settings.kafka, settings.tenant

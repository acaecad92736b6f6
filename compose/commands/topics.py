"""`streams topics`: make the topics, or compare those that are there with the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from compose.commands.kafka_address import Kafka
from compose.errors import CommandError
from compose.exit_codes import ExitCode
from compose.settings import read_settings
from schemas import limits

if TYPE_CHECKING:
    from streams.topics import Report

app = typer.Typer(help="The topics of the log.", no_args_is_help=True)

Partitions = Annotated[
    int | None,
    typer.Option(min=1, help="Of each topic. Default: STREAMS_PARTITIONS, 6 in the local stack."),
]


@app.command()
def create(
    partitions: Partitions = None,
    replicas: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 1,
    kafka: Kafka = None,
) -> None:
    """Make what is missing; safe to repeat. Topics that differ are reported, never changed."""
    from streams.topics import BrokerSilent, TopicNotMade, ensure

    broker, wanted = _asked(kafka, partitions)
    try:
        report = ensure(broker, wanted, replicas)
    except (BrokerSilent, TopicNotMade) as error:
        raise CommandError(str(error)) from None
    _show(report)


@app.command()
def check(partitions: Partitions = None, kafka: Kafka = None) -> None:
    """Say what is missing or different; ends with status 1 if anything is."""
    from streams.topics import BrokerSilent
    from streams.topics import check as compare

    broker, wanted = _asked(kafka, partitions)
    try:
        report = compare(broker, wanted)
    except BrokerSilent as error:
        raise CommandError(str(error)) from None
    _show(report)


def _asked(kafka: str | None, partitions: int | None) -> tuple[str, int]:
    if kafka:
        return kafka, partitions or limits.partitions_default
    settings = read_settings()
    return settings.kafka, partitions or settings.partitions


def _show(report: Report) -> None:
    for name in report.created:
        typer.echo(f"created {name}")
    typer.echo(f"{len(report.created)} created, {len(report.present)} were there")
    if report.unseen:
        typer.echo(f"not told by this broker, so not compared: {', '.join(report.unseen)}")
    for name in report.missing:
        typer.secho(f"missing: {name}", fg="red", err=True)
    for difference in report.differences:
        typer.secho(f"differs: {difference}", fg="red", err=True)
    if not report.good:
        raise typer.Exit(ExitCode.BROKEN)

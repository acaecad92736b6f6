"""`streams simulate`: a bank, a trading platform and a market with people in them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event as Flag
from typing import TYPE_CHECKING, Annotated

import typer

from compose.commands.kafka_address import Kafka, broker_and_tenant
from compose.errors import CommandError
from compose.exit_codes import ExitCode

if TYPE_CHECKING:
    from streams.producer import SyncProducer
    from streams.simulate.world import World

CLIENT_ID = "streams-simulate"


def simulate(
    people: Annotated[int, typer.Option(help="Customers; others try and leave.")] = 200,
    months: Annotated[int, typer.Option(help="Length of the history.")] = 6,
    seed: Annotated[str, typer.Option(help="The same seed and end: the same events.")] = "1",
    until: Annotated[
        datetime | None,
        typer.Option(
            help="End of the history, UTC. Default: now.",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.01, help="Then go on live with so many events a second, until Ctrl-C."),
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="The history as fast as possible, and no more (default).")
    ] = False,
    events: Annotated[int | None, typer.Option(min=1, help="End live after so many.")] = None,
    kafka: Kafka = None,
) -> None:
    """Send months of history as fast as possible, then live traffic at a chosen rate.

    Prices and fixings are real (their dates are moved); people and what they do are made up.
    """
    from streams.producer import ProducerError, ProducerSettings, SyncProducer
    from streams.simulate.config import BadConfig, Config
    from streams.simulate.sources import SimulatorDataMissing
    from streams.simulate.world import World

    if fast and rate is not None:
        raise CommandError("--fast and --rate: give one of them", ExitCode.SETTINGS)
    if until is not None and rate is not None:
        raise CommandError("--until and --rate: live traffic goes on from now", ExitCode.SETTINGS)
    broker, tenant = broker_and_tenant(kafka)
    end = until.replace(tzinfo=UTC) if until else datetime.now(UTC)
    try:
        world = World(Config(people=people, months=months, until=end, seed=seed))
    except (BadConfig, SimulatorDataMissing) as error:
        raise CommandError(str(error), ExitCode.SETTINGS) from None
    producer_settings = ProducerSettings(broker, client_id=CLIENT_ID, tenant=tenant)
    try:
        with _until_interrupted() as stop, SyncProducer(producer_settings) as producer:
            show_history(producer, world, stop)
            if rate is not None and not stop.is_set():
                _live(producer, world, rate, events, stop)
    except ProducerError as error:
        raise CommandError(str(error)) from None


def show_history(producer: SyncProducer, world: World, stop: Flag) -> None:
    """Send the history, with a progress bar."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from streams.simulate.run import send_history

    began = datetime.now(UTC)
    start, length = world.config.start, (world.config.until - world.config.start).total_seconds()
    columns = (
        TextColumn("history up to {task.fields[day]}"),
        BarColumn(),
        TextColumn("{task.fields[events]:>9,} events"),
        TextColumn("{task.fields[rate]:>8,.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task("history", total=length, day=f"{start:%Y-%m-%d}", events=0, rate=0.0)

        def show(sent: int, reached: datetime) -> None:
            seconds = max((datetime.now(UTC) - began).total_seconds(), 0.001)
            bar.update(
                task,
                completed=(reached - start).total_seconds(),
                day=f"{reached:%Y-%m-%d}",
                events=sent,
                rate=sent / seconds,
            )

        sent = send_history(producer, world, show, stop)
        if not stop.is_set():
            bar.update(task, completed=length)
    seconds = (datetime.now(UTC) - began).total_seconds()
    typer.echo(
        f"{sent:,} events of {len(world.people)} people in the log after {seconds:.1f} s "
        f"({sent / max(seconds, 0.001):,.0f} a second)"
    )


def _live(
    producer: SyncProducer, world: World, rate: float, events: int | None, stop: Flag
) -> None:
    from rich.console import Console

    from streams.simulate.run import send_live

    with Console().status(f"live at {rate:g} events a second; Ctrl-C ends it") as status:

        def show(sent: int, reached: datetime) -> None:
            status.update(f"live: {sent:,} events, the last at {reached:%H:%M:%S} UTC")

        sent = send_live(producer, world, rate, stop, progress=show, events_max=events)
    typer.echo(f"{sent:,} live events in the log")


@contextmanager
def _until_interrupted() -> Iterator[Flag]:
    """A flag that Ctrl-C or SIGTERM sets, so that what is on its way is still waited for."""
    stop = Flag()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

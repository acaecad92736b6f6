"""`streams up | down`: the stack with migrations, topics, a worker and a gateway."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from compose.errors import CommandError
from compose.local.commands import Folder
from compose.running import run_until_signalled, set_up_logging

#: Seconds until worker and gateway must be ready, and until they must be gone.
READY_SECONDS_MAX = 90.0
GONE_SECONDS_MAX = 30.0

#: How often the processes are looked at, and how long a broken one stays down, in seconds.
LOOK_SECONDS = 0.2
RESTART_SECONDS = 1.0

_EMPTIED = ("postgres", "clickhouse", "faust")


def up(
    kafka: Annotated[bool, typer.Option("--kafka", help="Apache Kafka; its log lasts.")] = False,
    folder: Folder = None,
    port: Annotated[int, typer.Option(help="Of the gateway.")] = 4025,
) -> None:
    """Start everything with nothing in it, and leave it running: `streams down` ends it."""
    from compose.local import state
    from compose.local.commands import up as local_up
    from compose.processes import keeper

    place = state.folder_of(folder)
    if state.running(place) is None and not kafka:
        empty(place)
    local_up(kafka=kafka, as_json=False, folder=place)
    if keeper(place) is None:
        prepare(place)
        _keep_detached(place, port)
    running = state.running(place)
    addresses = state.addresses(place, running) if running else {}
    typer.echo(f"gateway    {addresses.get('gateway', '')}")
    typer.echo("`streams token --user usr_17` prints a token; `streams down` ends everything.")


def down(folder: Folder = None) -> None:
    """End what `streams up` started."""
    from compose.local import state
    from compose.local.commands import down as local_down
    from compose.processes import keeper

    place = state.folder_of(folder)
    if kept := keeper(place):
        os.kill(kept.pid, signal.SIGTERM)
        deadline = time.monotonic() + GONE_SECONDS_MAX
        while kept.runs() and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
    local_down(folder=place)


def keep(folder: Path, port: int) -> None:
    """Keep a worker and a gateway running for the stack in this folder, until SIGTERM."""
    set_up_logging()

    async def main(stop: asyncio.Event) -> None:
        await asyncio.to_thread(_keep, folder, port, stop)

    run_until_signalled(main)


def empty(folder: Path) -> None:
    """Without a log that lasts, views of an earlier one would be views of nothing."""
    for name in _EMPTIED:
        shutil.rmtree(folder / name, ignore_errors=True)


def prepare(folder: Path) -> None:
    """Migrations and topics for the stack in this folder."""
    from compose.commands.migrate import run_migrations
    from compose.settings import read_settings
    from streams.topics import ensure

    settings = read_settings({"STREAMS_LOCAL_FOLDER": str(folder)})
    asyncio.run(run_migrations(settings))
    report = ensure(settings.kafka, settings.partitions)
    for difference in report.differences:
        typer.secho(f"topic {difference}", fg="yellow", err=True)


def _keep(folder: Path, port: int, stop: asyncio.Event) -> None:
    from compose.local import state
    from compose.processes import environment_of, serving, write_keeper
    from compose.settings import read_settings

    running = state.running(folder)
    if running is None:
        raise CommandError(f"no stack runs in {folder}")
    settings = read_settings({"STREAMS_LOCAL_FOLDER": str(folder)})
    env = environment_of(folder, running.addresses, settings.partitions)
    with serving(folder, env, port) as children:
        write_keeper(folder)
        while not stop.is_set() and state.running(folder) is not None:
            for number, child in enumerate(children):
                if child.has_ended() and not stop.is_set():
                    typer.echo(f"{child.server.name}: {child.ending()}; starting it again")
                    time.sleep(RESTART_SECONDS)
                    children[number] = type(child)(child.server, folder / "logs")
            time.sleep(LOOK_SECONDS)


def _keep_detached(folder: Path, port: int) -> None:
    from compose.processes import keeper

    argv = [sys.executable, "-P", "-m", "compose.cli", "keep", str(folder), str(port)]
    with (folder / "logs" / "keeper.log").open("ab") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + READY_SECONDS_MAX
    while keeper(folder) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise CommandError(f"worker or gateway did not start; see {folder / 'logs'}")
        time.sleep(LOOK_SECONDS)
    # It outlives this command, which therefore has no child to wait for.
    process.returncode = 0

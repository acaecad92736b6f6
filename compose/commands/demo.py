"""`streams demo`: everything at once, with people in it, until Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compose.errors import CommandError
from compose.local.commands import Folder

if TYPE_CHECKING:
    from compose.local.stack import Stack
    from compose.summary import Figures

#: Seconds between two looks at the figures.
REFRESH_SECONDS = 1.0

#: Enough to see something happen, little enough for a laptop.
LIVE_EVENTS_PER_SECOND = 50.0

_COUNTS = {
    "accounts": "select count(*) from accounts",
    "positions": "select count(*) from positions",
    "notifications": "select count(*) from notifications",
    "executions": "select count(*) from rule_executions",
    "dead letters": "select count(*) from dead_letters where state = 'open'",
}


def demo(
    people: Annotated[int, typer.Option(help="Customers in the history.")] = 200,
    months: Annotated[int, typer.Option(help="Length of the history.")] = 6,
    port: Annotated[int, typer.Option(help="Of the gateway.")] = 4025,
    kafka: Annotated[bool, typer.Option("--kafka", help="Apache Kafka as the broker.")] = False,
    folder: Folder = None,
) -> None:
    """Start a stack of its own, fill it with history, go on live, and show what happens."""
    from compose.local import state
    from compose.local.ports import choose_ports
    from compose.local.stack import local_stack

    logging.basicConfig(level=logging.ERROR)
    place = state.folder_of(folder) / "demo"
    if state.running(place) is not None:
        raise CommandError(f"a demo runs in {place} already")
    shutil.rmtree(place, ignore_errors=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    typer.echo(f"starting broker, PostgreSQL and ClickHouse in {place}")
    choose_ports({"gateway": port}, {})
    with local_stack(place, kafka=kafka) as stack:
        _run(stack, place, port, people, months, stop)
    typer.echo("all ended")


def _run(
    stack: Stack, folder: Path, port: int, people: int, months: int, stop: threading.Event
) -> None:
    from compose.commands.up import prepare
    from compose.local import tokens
    from compose.processes import environment_of, serving
    from compose.settings import read_settings

    prepare(folder)
    settings = read_settings({"STREAMS_LOCAL_FOLDER": str(folder)})
    env = environment_of(folder, stack.addresses, settings.partitions)
    typer.echo("starting worker and gateway")
    with serving(folder, env, port):
        key = tokens.secret(folder)
        live = _Live(stack, people, months, stop)
        live.send_history()
        if stop.is_set():
            return

        def mint(user: str, scopes: list[str]) -> str:
            return tokens.mint(key, user, scopes, tenant=settings.tenant, ttl_seconds=86_400)

        lines = _lines(stack, folder, port, live.some_person())
        with live.sending():
            asyncio.run(_watch(stack, port, mint, lines, stop))


class _Live:
    """The simulated world: its history first, then live traffic from a thread."""

    def __init__(self, stack: Stack, people: int, months: int, stop: threading.Event) -> None:
        from streams.producer import ProducerSettings
        from streams.simulate.config import BadConfig, Config
        from streams.simulate.sources import SimulatorDataMissing
        from streams.simulate.world import World

        try:
            self._world = World(Config(people=people, months=months, until=datetime.now(UTC)))
        except (BadConfig, SimulatorDataMissing) as error:
            raise CommandError(str(error)) from None
        self._settings = ProducerSettings(stack.kafka, client_id="streams-demo")
        self._stop = stop

    def send_history(self) -> None:
        from compose.commands.simulate import show_history
        from streams.producer import SyncProducer

        with SyncProducer(self._settings) as producer:
            show_history(producer, self._world, self._stop)

    def some_person(self) -> str:
        return self._world.people[0].user

    def sending(self) -> Any:
        from contextlib import contextmanager

        from streams.producer import ProducerError, SyncProducer
        from streams.simulate.run import send_live

        def send() -> None:
            try:
                with SyncProducer(self._settings) as producer:
                    send_live(
                        producer,
                        self._world,
                        LIVE_EVENTS_PER_SECOND,
                        self._stop,
                        progress=lambda *_: None,
                    )
            except ProducerError as error:
                logging.getLogger(__name__).error("live traffic ended: %s", error)

        @contextmanager
        def block() -> Any:
            thread = threading.Thread(target=send, name="live traffic")
            thread.start()
            try:
                yield
            finally:
                self._stop.set()
                thread.join()

        return block()


async def _watch(
    stack: Stack, port: int, mint: Any, lines: list[str], stop: threading.Event
) -> None:
    import aiohttp
    from rich.console import Console
    from rich.live import Live

    from compose.summary import PROBE_USER, Ends, Figures, probe, render
    from projections.postgres.pool import open_pool
    from projections.postgres.progress import following

    async with AsyncExitStack() as parts:
        pool = await parts.enter_async_context(open_pool(stack.postgres, size_max=1))
        progress = await parts.enter_async_context(following(stack.postgres))
        headers = {"Authorization": f"Bearer {mint(PROBE_USER, ['producer'])}"}
        session = await parts.enter_async_context(
            aiohttp.ClientSession(
                f"http://127.0.0.1:{port}",
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=10),
            )
        )
        figures, ends = Figures(), Ends()
        probing = asyncio.create_task(probe(session, figures))
        console = Console()
        if not console.is_terminal:
            console.print(*lines, sep="\n", soft_wrap=True)
        screen = parts.enter_context(Live(console=console, auto_refresh=False))
        try:
            while not stop.is_set():
                await _look(stack, pool, progress, ends, figures)
                screen.update(render(figures, lines), refresh=True)
                await asyncio.sleep(REFRESH_SECONDS)
        finally:
            probing.cancel()


async def _look(stack: Stack, pool: Any, progress: Any, ends: Any, figures: Figures) -> None:
    from compose.summary import lags
    from projections.postgres.pool import acquire
    from streams.topics import log_ends

    found: Mapping[tuple[str, int], int] = await asyncio.to_thread(log_ends, stack.kafka)
    figures.events = sum(found.values())
    figures.events_per_second = ends.rate(figures.events)
    figures.lag = lags(found, progress.all_positions())
    async with acquire(pool) as connection:
        figures.counts = {name: await connection.fetchval(sql) for name, sql in _COUNTS.items()}


def _lines(stack: Stack, folder: Path, port: int, user: str) -> list[str]:
    base = f"http://127.0.0.1:{port}"
    bearer = '-H "Authorization: Bearer $TOKEN"'
    query = "select type, count() from events group by type order by 2 desc format Pretty"
    shown = os.path.relpath(folder)
    return [
        "To paste into another terminal:",
        f"TOKEN=$(.venv/bin/streams token --user {user} --scope analyst,operator --folder {shown})",
        f"curl {bearer} {base}/api/wealth/net-worth",
        f"curl {bearer} {base}/api/notifications",
        f'curl {bearer} "{base}/api/analytics/funnel/onboarding?days=30"',
        f'websocat {bearer} "ws://127.0.0.1:{port}/ws/sync?from=earliest"',
        f"curl -N {bearer} {base}/api/sync/stream",
        f"curl {stack.clickhouse} --data-binary '{query}'",
        f"psql {stack.postgres}",
        f"kcat -b {stack.kafka} -C -t notifications -o -5 -e",
        f"{base}/docs shows the whole API. Ctrl-C ends everything.",
    ]

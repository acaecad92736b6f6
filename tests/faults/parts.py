"""What the two sides of a fault run share: where things are, and what watches them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Broker = Literal["tansu", "kafka"]


class Broken(Exception):
    """A promise does not hold: the text has what was read, what it should be, and where."""


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """A group of tasks out of which a ``Broken`` comes by itself.

    By hand, because Python 3.11.2 wraps what is raised in an ``except*`` into a group again.
    """
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as found:
        broken, others = found.split(Broken)
        if broken is None or others is not None:
            raise
        raise broken.exceptions[0] from None


@dataclass(frozen=True)
class Target:
    """Where the system under test is, as seen by its producers, its readers and its judge.

    The addresses are direct ones: they do not lead through the proxies that are cut and delayed.
    The servers behind them are killed and stopped all the same.
    """

    #: ``host:port`` of the broker.
    kafka: str
    #: URL of the database.
    postgres: str
    #: URL of the HTTP endpoint.
    clickhouse: str
    #: The run's folder; files of one's own go below it.
    folder: Path
    #: The gateway's URL, asked anew for each connection: it may change while the run goes on.
    gateway: Callable[[], str]
    #: A token for a person with the scopes named, as ``token("usr_17", "producer")``.
    token: Callable[..., str]
    #: The run's seed: every random choice follows from it.
    seed: int
    broker: Broker


class Load(Protocol):
    """What the people and platforms do meanwhile."""

    #: Events that the broker has acknowledged so far.
    sent: int

    async def prepare(self) -> None:
        """Open accounts and create rules; ends before the first fault."""
        ...

    async def run(self, stop: asyncio.Event) -> None:
        """Send until ``stop`` is set, then see every event that was begun delivered."""
        ...


class Witness(Protocol):
    """Reads all the while and holds the system to one of its promises."""

    name: str

    @property
    def observations(self) -> int:
        """How often it has seen its promise to hold."""
        ...

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until ``stop`` is set; lost connections are normal, and tried again.

        Raises:
            Broken: the promise does not hold.
        """
        ...

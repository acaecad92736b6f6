"""How each fault is done, and undone again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from compose.local import Stack
from compose.local.service import Server
from tests.faults.parts import Broken, Broker
from tests.faults.processes import Programs, StackServer, Subject
from tests.faults.proxy import Proxy
from tests.faults.schedule import ALL, SERVERS, Fault, Kind

WORKERS_MAX = 3

#: Postgres is asked to change a setting until it answers: so often, so long, in seconds.
AGAIN_SECONDS = 0.2
SETTING_SECONDS_MAX = 60.0


class Harm:
    """Does faults to one system."""

    def __init__(
        self,
        broker: Broker,
        stack: Stack,
        proxies: dict[str, Proxy],
        programs: Programs,
        worker: Callable[[int], Server],
    ) -> None:
        orders = asyncio.Lock()
        self._servers = {name: StackServer(name, stack, orders) for name in SERVERS}
        # The death of the broker in memory is the end of the log.
        self._mortal = [name for name in SERVERS if (name, broker) != ("kafka", "tansu")]
        self._stack = stack
        self._proxies = proxies
        self._programs = programs
        self._worker = worker
        self._workers = 0

    def add_worker(self) -> str:
        """Start one more; its name."""
        self._workers += 1
        return self._programs.start(self._worker(self._workers)).name

    async def do(self, fault: Fault) -> str:
        """Do it, wait for its length and undo it; what was hit, by name.

        Raises:
            Broken: it cannot be undone, as when a server does not come back.
        """
        match fault.kind:
            case Kind.KILL if fault.target == ALL:
                return await self._kill_all(fault.length)
            case Kind.KILL:
                return await self._kill(self._subject(fault), fault.length)
            case Kind.STOP | Kind.ZOMBIE:
                return await self._freeze(self._subject(fault), fault.length)
            case Kind.ADD | Kind.REMOVE:
                return await self._scale(fault)
            case Kind.CUT | Kind.DELAY | Kind.STALL:
                with _harmed(self._proxies[fault.target], fault):
                    await asyncio.sleep(fault.length)
                return f"connections to {fault.target}"
            case Kind.READ_ONLY:
                async with self._refusing_writes():
                    await asyncio.sleep(fault.length)
                return fault.target

    def _subject(self, fault: Fault) -> Subject:
        if fault.target in self._servers:
            return self._servers[fault.target]
        names = self._programs.names(fault.target)
        return self._programs[names[fault.pick % len(names)]]

    async def _kill(self, subject: Subject, length: float) -> str:
        await subject.kill()
        await asyncio.sleep(length)
        await subject.start()
        return subject.name

    async def _freeze(self, subject: Subject, length: float) -> str:
        subject.freeze()
        try:
            await asyncio.sleep(length)
        finally:
            subject.thaw()
        return subject.name

    async def _scale(self, fault: Fault) -> str:
        names = self._programs.names("worker")
        add = fault.kind is Kind.ADD
        # At the bounds the other way: there is always one, and never too many.
        if (add and len(names) < WORKERS_MAX) or len(names) == 1:
            return f"{self.add_worker()} is new"
        name = names[fault.pick % len(names)]
        await self._programs.remove(name)
        return f"{name} is gone"

    async def _kill_all(self, length: float) -> str:
        programs = [self._programs[name] for name in self._programs.names()]
        servers = [self._servers[name] for name in self._mortal]
        subjects: Sequence[Subject] = [*programs, *servers]
        await asyncio.gather(*(subject.kill() for subject in subjects))
        await asyncio.sleep(length)
        # All at once, as after a power cut: who needs another must wait for it.
        await asyncio.gather(*(subject.start() for subject in subjects))
        return ", ".join(subject.name for subject in subjects)

    @asynccontextmanager
    async def _refusing_writes(self) -> AsyncIterator[None]:
        await self._set_read_only("on")
        try:
            yield
        finally:
            await self._set_read_only("off")

    async def _set_read_only(self, value: str) -> None:
        """Postgres may be away just now: the setting is for when it is back."""
        try:
            async with asyncio.timeout(SETTING_SECONDS_MAX):
                while True:
                    if await self._try_read_only(value):
                        return
                    await asyncio.sleep(AGAIN_SECONDS)
        except TimeoutError as error:
            raise Broken("Postgres does not take a change of its settings") from error

    async def _try_read_only(self, value: str) -> bool:
        try:
            connection = await asyncpg.connect(self._stack.postgres, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        try:
            await connection.execute("set default_transaction_read_only = off")
            await connection.execute(f"alter system set default_transaction_read_only = {value}")
            await connection.execute("select pg_reload_conf()")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        finally:
            connection.terminate()
        return True


@contextmanager
def _harmed(proxy: Proxy, fault: Fault) -> Iterator[None]:
    try:
        if fault.kind is Kind.CUT:
            proxy.refuse(fault.length > 0)
            proxy.cut()
        elif fault.kind is Kind.DELAY:
            proxy.delay(fault.delay)
        else:
            proxy.stall(True)
        yield
    finally:
        proxy.refuse(False)
        proxy.delay(0)
        proxy.stall(False)

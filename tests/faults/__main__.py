"""`make faults`: one run from its settings to its verdict."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from compose.commands.up import prepare
from compose.errors import CommandError
from compose.local import Proxied, Stack, local_stack, tokens
from compose.local.ports import choose_ports
from compose.local.service import Server
from compose.processes import Gateway, Relay, Worker, environment_of
from schemas.limits import partitions_embedded
from tests.faults.conductor import Conductor
from tests.faults.harm import Harm
from tests.faults.load import BankingLoad
from tests.faults.parts import Broken, Target
from tests.faults.processes import Programs
from tests.faults.progress import Progress
from tests.faults.proxy import Proxy, proxies
from tests.faults.report import Report
from tests.faults.schedule import SERVERS
from tests.faults.settings import Settings, read_settings
from tests.faults.verdict import differences
from tests.faults.witnesses import witnesses_of

HOST = "127.0.0.1"
WORKERS_START = 2

#: The watchdog must heal within the time after which a run counts as standing still, and longer
#: than the group waits for a silent worker.
STALL_SECONDS = 10.0
TOKEN_SECONDS = 24 * 3600

#: What each process wrote last is shown when a run fails, so many lines.
SHOWN_LINES = 12


def main() -> int:
    """Run; the exit code is 0 when every promise held, 1 otherwise, 130 when interrupted."""
    settings = read_settings(sys.argv[1:])
    # From the first moment on, so that nothing is left behind whenever it comes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="streams-faults-"))
    print(f"{settings.again}   (everything is in {folder})", flush=True)
    report = Report(settings)
    try:
        with ExitStack() as parts:
            ports = choose_ports({"listener": 0, "gateway": 0}, {})
            doors = parts.enter_context(proxies(SERVERS))
            kafka = settings.broker == "kafka"
            way = Proxied(ports["listener"], doors["kafka"].port) if kafka else None
            stack = parts.enter_context(local_stack(folder, kafka=kafka, proxied=way))
            doors["kafka"].lead_to(ports["listener"] if kafka else _port(stack.kafka))
            doors["postgres"].lead_to(_port(stack.postgres.rpartition("/")[0]))
            doors["clickhouse"].lead_to(_port(stack.clickhouse))
            prepare(folder)
            asyncio.run(_conduct(settings, stack, doors, ports["gateway"], report))
    except (Broken, CommandError) as error:
        report.broken = str(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        if not settings.keep:
            shutil.rmtree(folder, ignore_errors=True)
        print(f"faults: INTERRUPTED seed={settings.seed} broker={settings.broker}", flush=True)
        return 130
    except Exception as error:  # noqa: BLE001 - whatever ends a run is its verdict, with its place
        report.broken = "".join([f"{error!r}\n", *traceback.format_exception(error)])
    _finish(report, folder)
    return 0 if report.passed else 1


def _port(address: str) -> int:
    return int(address.rsplit(":", 1)[1])


async def _conduct(
    settings: Settings, stack: Stack, doors: dict[str, Proxy], port: int, report: Report
) -> None:
    _end_on_signals()
    env = _environment(stack, doors)
    folder = stack.folder
    programs = Programs(folder / "logs")
    target = Target(
        kafka=stack.kafka,
        postgres=stack.postgres,
        clickhouse=stack.clickhouse,
        folder=folder,
        gateway=lambda: f"http://{HOST}:{port}",
        token=partial(_token, tokens.secret(folder)),
        seed=settings.seed,
        broker=settings.broker,
    )
    progress = Progress(target)
    harm = Harm(settings.broker, stack, doors, programs, _workers(folder, env))
    try:
        names = [harm.add_worker() for _ in range(WORKERS_START)]
        names += [programs.start(Relay(folder, env)).name]
        names += [programs.start(Gateway(folder, env, port)).name]
        for name in names:
            await programs[name].wait_ready()
        conductor = Conductor(target, programs, harm, progress, report)
        load = BankingLoad(target, settings.rate)
        await conductor.run(load, witnesses_of(target), differences)
    finally:
        report.exits = programs.exits()
        progress.close()
        await programs.close()


def _end_on_signals() -> None:
    """The first Ctrl-C or SIGTERM ends the run in order; more of them change nothing."""
    run = asyncio.current_task()

    def end() -> None:
        if run is not None and not run.cancelling():
            run.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)


def _environment(stack: Stack, doors: dict[str, Proxy]) -> dict[str, str]:
    """Our processes reach the servers through the proxies.

    The broker in memory sends everybody to its own address, whichever way they came first.
    """
    user, _, rest = stack.postgres.partition("@")
    through = {
        "kafka": f"{HOST}:{doors['kafka'].port}",
        "postgres": f"{user}@{HOST}:{doors['postgres'].port}/{rest.partition('/')[2]}",
        "clickhouse": f"http://{HOST}:{doors['clickhouse'].port}",
    }
    env = environment_of(stack.folder, through, partitions_embedded)
    return {**env, "STREAMS_STALL_SECONDS": f"{STALL_SECONDS:g}"}


def _workers(folder: Path, env: dict[str, str]) -> Callable[[int], Server]:
    def worker(number: int) -> Server:
        name = f"worker-{number}"
        place = folder / name
        place.mkdir(exist_ok=True)
        own = {**env, "STREAMS_FOLDER": str(place)}
        return Worker(folder, own, name=name, arguments=("--no-relay",))

    return worker


def _token(key: str, user: str, *scopes: str) -> str:
    return tokens.mint(key, user, scopes, tenant="bfc", ttl_seconds=TOKEN_SECONDS)


def _finish(report: Report, folder: Path) -> None:
    if report.passed and not report.settings.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        for log in sorted((folder / "logs").glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
            print("\n".join([f"--- {log.name}", *lines]))
        print(f"\nkept: {folder}\nagain: {report.settings.again}")
    print("\n".join(report.lines()), flush=True)


if __name__ == "__main__":
    sys.exit(main())

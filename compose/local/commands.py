"""`streams local up | status | down` and `streams token`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compose.errors import CommandError
from compose.exit_codes import ExitCode

if TYPE_CHECKING:
    from compose.local.state import State

app = typer.Typer(
    help="Broker, PostgreSQL and ClickHouse on this machine, from wheels alone.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path | None,
    typer.Option(help="Where the data lies.", envvar="STREAMS_LOCAL_FOLDER", show_default=".local"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the addresses as JSON, only.")]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="0 for any free one.")]

_LABELS = {
    "kafka": "Kafka",
    "postgres": "PostgreSQL",
    "clickhouse": "ClickHouse",
    "gateway": "gateway",
}
_IN_MEMORY = (
    "The log is kept in memory: a restart starts with an empty one. "
    "`streams local up --kafka` takes Apache Kafka, whose log lasts."
)


@app.command()
def up(
    kafka: Annotated[bool, typer.Option("--kafka", help="Apache Kafka; its log lasts.")] = False,
    as_json: AsJson = False,
    folder: Folder = None,
    kafka_port: Port = 0,
    postgres_port: Port = 0,
    clickhouse_port: Port = 0,
) -> None:
    """Start the stack, wait until it answers, and leave it running."""
    from compose.local import state
    from compose.local.stack import Ports, launch_detached

    place = state.folder_of(folder)
    if state.running(place) is None:
        _say(f"starting in {place}", as_json)
        ports = Ports(kafka_port, postgres_port, clickhouse_port)
        launch_detached(place, kafka=kafka, ports=ports)
    found = _running(place)
    if kafka and not found.durable:
        raise CommandError(
            f"the stack in {place} runs with the broker in memory; "
            "`streams local down` first, then `up --kafka`"
        )
    _show(place, found, as_json)


@app.command()
def status(as_json: AsJson = False, folder: Folder = None) -> None:
    """Show the addresses of the running stack; status 1 when none runs or a server has ended."""
    from compose.local import state

    place = state.folder_of(folder)
    found = state.running(place)
    if found is None:
        print("{}" if as_json else f"no stack runs in {place}; `streams local up` starts one")
        raise typer.Exit(ExitCode.BROKEN)
    _show(place, found, as_json)
    if found.ended:
        raise typer.Exit(ExitCode.BROKEN)


@app.command()
def down(folder: Folder = None) -> None:
    """End the stack; its data stays in the folder (the log only with Apache Kafka)."""
    from compose.local import state
    from compose.local.stack import end_detached

    place = state.folder_of(folder)
    found = state.running(place)
    if found is None:
        print(f"no stack runs in {place}")
        return
    end_detached(found)
    print(f"ended the stack in {place}")


def token(
    user: Annotated[str, typer.Option(help="The person (`sub`), for example usr_17.")],
    scope: Annotated[
        str, typer.Option(help="Any of analyst, operator, producer, consumer; by commas.")
    ] = "",
    ttl: Annotated[int, typer.Option(min=1, help="Seconds until it expires.")] = 86_400,
    tenant: Annotated[str, typer.Option(envvar="STREAMS_TENANT")] = "bfc",
    folder: Folder = None,
) -> None:
    """Print a JWT of the local stack."""
    from compose.local import state, tokens

    scopes = [each.strip() for each in scope.split(",") if each.strip()]
    place = state.folder_of(folder)
    print(tokens.mint(tokens.secret(place), user, scopes, tenant=tenant, ttl_seconds=ttl))


def _running(folder: Path) -> State:
    """The stack in the folder with all its servers; CommandError when one has ended."""
    from compose.local import state

    found = state.running(folder)
    if found is None:
        raise CommandError(f"the stack in {folder} ended while it started; see {folder / 'logs'}")
    if found.ended:
        what = "; ".join(f"{_LABELS[name]} {how}" for name, how in found.ended.items())
        raise CommandError(
            f"the stack in {folder} runs, but: {what}. See {folder / 'logs'}; "
            "`streams local down`, then `up`, starts it anew"
        )
    return found


def _show(folder: Path, found: State, as_json: bool) -> None:
    from compose.local import state

    addresses = state.addresses(folder, found)
    if as_json:
        print(json.dumps(addresses))
        return
    for name, address in addresses.items():
        how = f"  ({found.ended[name]})" if name in found.ended else ""
        print(f"{_LABELS[name]:<11}{address}{how}")
    print("The log lasts over restarts." if found.durable else _IN_MEMORY)


def _say(text: str, as_json: bool) -> None:
    """Progress: to standard error, which a script that reads JSON does not see."""
    if not as_json:
        typer.echo(text, err=True)

"""The command line `streams`: a list of its sub-commands, each in the room it belongs to.

Command modules import what they need inside their functions, so that `streams --help` is quick.
"""

from __future__ import annotations

import sys

import typer

from compose.commands import (
    dead_letters,
    demo,
    gateway,
    import_,
    log,
    migrate,
    projections,
    rebuild,
    relay,
    schemas,
    simulate,
    topics,
    up,
    worker,
)
from compose.errors import CommandError
from compose.local import commands as local

app = typer.Typer(
    name="streams",
    help="An event-sourced streaming backbone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(local.app, name="local")
app.command("token")(local.token)
app.add_typer(topics.app, name="topics")
app.add_typer(schemas.app, name="schemas")
app.add_typer(log.app, name="log")
app.add_typer(dead_letters.app, name="dead-letters")
app.command("up")(up.up)
app.command("down")(up.down)
app.command("keep", hidden=True)(up.keep)
app.command("demo")(demo.demo)
app.command("migrate")(migrate.migrate)
app.command("worker")(worker.worker)
app.command("relay")(relay.relay)
app.command("gateway")(gateway.gateway)
app.command("projections")(projections.projections)
app.command("rebuild")(rebuild.rebuild)
app.command("simulate")(simulate.simulate)
app.command("import")(import_.import_)


def main() -> None:
    """The program: what a command could not do goes to standard error, with its exit code."""
    try:
        app()
    except CommandError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(error.code)


if __name__ == "__main__":
    main()

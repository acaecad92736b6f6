"""`streams schemas`: the published form of the contract, generated from the code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="JSON Schemas and AsyncAPI of what travels.", no_args_is_help=True)


@app.callback()
def schemas() -> None:
    """Keeps `export` a sub-command of its own."""


@app.command()
def export(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to. Default: the committed ones.")
    ] = None,
) -> None:
    """Write them; says which files have changed."""
    from schemas.export import PUBLISHED
    from schemas.export import export as write

    changed = write(folder or PUBLISHED)
    for path in changed:
        typer.echo(f"changed {path.name}")
    typer.echo(f"{len(changed)} changed")

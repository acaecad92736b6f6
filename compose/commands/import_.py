"""`streams import`: a bank statement's entries into the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compose.commands.kafka_address import Kafka, broker_and_tenant
from compose.errors import CommandError
from compose.exit_codes import ExitCode

if TYPE_CHECKING:
    from streams.importing.csv_file import Layout

CLIENT_ID = "streams-import"
PROBLEMS_SHOWN_MAX = 20


def import_(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The statement.")
    ],
    account: Annotated[str, typer.Option(help="The account's name in the log.")],
    user: Annotated[str, typer.Option(help="Whose account it is.")],
    currency: Annotated[
        str | None, typer.Option(help="The account's currency, if the file does not say.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="camt.053, mt940, ofx or csv. Default: by its content."),
    ] = None,
    statement: Annotated[
        str | None, typer.Option(help="CAMT.053 with several accounts: IBAN or number of the one.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="CSV: FIELD=NAME, e.g. date=Posted on (also amount, debit, credit, "
            "reference, counterparty, description, currency, valued)."
        ),
    ] = None,
    date_format: Annotated[
        str | None, typer.Option(help="CSV: as strptime takes it, e.g. %d/%m/%Y.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="CSV: default: found out.")] = None,
    decimal: Annotated[str, typer.Option(help="CSV: the decimal mark, . or ,")] = ".",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and show, send nothing.")
    ] = False,
    kafka: Kafka = None,
) -> None:
    """Send a statement (CAMT.053, MT940, OFX, CSV) as postings of an account.

    The same file twice, or a longer one that holds it, changes nothing: ids follow from content.
    """  # fmt: skip
    from schemas.errors import InvalidEvent
    from streams.importing.formats import Format, read
    from streams.importing.postings import postings
    from streams.importing.statement import UnreadableStatement
    from streams.producer import ProducerError, ProducerSettings, SyncProducer

    layout = _layout(column or [], delimiter, date_format, decimal)
    if form is not None and form not in list(Format):
        raise CommandError(f"--format: {form} is none of {', '.join(Format)}", ExitCode.SETTINGS)
    try:
        found = read(
            file.read_bytes(), form=Format(form) if form else None, account=statement, layout=layout
        )
        drafts = postings(found, account=account, user=user, currency=currency)
    except UnreadableStatement as error:
        for problem in error.problems[:PROBLEMS_SHOWN_MAX]:
            typer.secho(f"{file}: {problem}", fg="red", err=True)
        more = len(error.problems) - PROBLEMS_SHOWN_MAX
        raise CommandError(f"{f'and {more} more; ' if more > 0 else ''}nothing was sent") from None
    for remark in found.remarks:
        typer.secho(f"note: {remark}", fg="yellow", err=True)
    sums = f"{found.format}, {len(drafts)} entries for {account} of {user}"
    if dry_run:
        typer.echo(f"{sums}: readable, nothing was sent")
        return
    broker, tenant = broker_and_tenant(kafka)
    try:
        with SyncProducer(ProducerSettings(broker, client_id=CLIENT_ID, tenant=tenant)) as producer:
            producer.send_many(drafts)
    except (ProducerError, InvalidEvent) as error:
        raise CommandError(f"{error}\nimporting the file again is harmless") from None
    typer.echo(f"{sums}: sent. Entries that were imported before change nothing.")


def _layout(columns: list[str], delimiter: str | None, form: str | None, decimal: str) -> Layout:
    from streams.importing.csv_file import USUAL_NAMES, Layout

    if decimal not in (".", ","):
        raise CommandError(f"--decimal: {decimal!r} is neither . nor ,", ExitCode.SETTINGS)
    if delimiter is not None and len(delimiter) != 1:
        raise CommandError(f"--delimiter: {delimiter!r} is not one character", ExitCode.SETTINGS)
    named: dict[str, str] = {}
    for given in columns:
        field, mark, name = given.partition("=")
        if not mark or field not in USUAL_NAMES:
            raise CommandError(
                f"--column: {given!r} is not FIELD=NAME with one of {', '.join(USUAL_NAMES)}",
                ExitCode.SETTINGS,
            )
        named[field] = name
    return Layout(columns=named, delimiter=delimiter, date_format=form, decimal=decimal)

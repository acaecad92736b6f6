"""Which format a file is in, and the one way into all of them."""

from __future__ import annotations

from enum import StrEnum

from streams.importing.bankfiles import read_bankfile
from streams.importing.camt import read_camt
from streams.importing.csv_file import Layout, read_csv
from streams.importing.statement import Problem, Statement, UnreadableStatement

FILE_BYTES_MAX = 64 * 1024 * 1024
"""A statement of a quarter of a million entries; read whole, as nothing is sent before all is
understood."""


class Format(StrEnum):
    """The formats that statements come in."""

    CAMT = "camt.053"
    MT940 = "mt940"
    OFX = "ofx"
    CSV = "csv"


def detect(data: bytes) -> Format:
    """By content, not by the file's name. What is none of the others is taken as CSV."""
    head = data[:4096]
    upper = head.upper()
    if b"BKTOCSTMRSTMT" in upper:
        return Format.CAMT
    if b"<OFX>" in upper or b"OFXHEADER" in upper:
        return Format.OFX
    if head.startswith((b":20:", b":61:", b"{1:")) or b"\n:20:" in head or b"\n:61:" in head:
        return Format.MT940
    return Format.CSV


def read(
    data: bytes,
    *,
    form: Format | None = None,
    account: str | None = None,
    layout: Layout | None = None,
) -> Statement:
    """A statement file as entries. `account` chooses among several in a CAMT.053 file.

    Raises UnreadableStatement, which lists every problem with line and field.
    """
    if len(data) > FILE_BYTES_MAX:
        message = f"{len(data)} bytes, more than {FILE_BYTES_MAX}"
        raise UnreadableStatement([Problem(None, "file", message)])
    form = form or detect(data)
    if form is Format.CAMT:
        return read_camt(data, account)
    if form is Format.CSV:
        return read_csv(data, layout or Layout(columns={}))
    return read_bankfile(data)

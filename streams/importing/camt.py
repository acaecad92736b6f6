"""CAMT.053, the ISO 20022 statement: its entries, whatever the message's minor version.

Only what a posting needs is read. The parser refuses entity declarations, so a hostile file can
neither blow up nor read others (defusedxml).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from io import BytesIO
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler, feature_namespaces
from xml.sax.xmlreader import AttributesNSImpl, Locator

from defusedxml.common import DefusedXmlException
from defusedxml.sax import make_parser

from streams.importing.statement import (
    Entry,
    Problem,
    Statement,
    UnreadableStatement,
    reference_or_none,
)

AMOUNT = re.compile(r"\d{1,18}(\.\d{0,17})?|\.\d{1,17}")
"""ISO 20022's ActiveOrHistoricCurrencyAndAmount, with the leading zero optional."""


@dataclass(slots=True)
class Node:
    """One element: its name without namespace, where it starts, its text and children."""

    name: str
    line: int
    currency: str | None = None
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def find(self, *path: str) -> Node | None:
        """The first descendant along the path of names."""
        return next(self.all(*path), None)

    def all(self, *path: str) -> Iterator[Node]:
        """Every descendant along the path of names."""
        for child in self.children:
            if child.name == path[0]:
                if len(path) == 1:
                    yield child
                else:
                    yield from child.all(*path[1:])

    def value(self, *path: str) -> str | None:
        """The text along the path, None where there is none."""
        found = self.find(*path)
        return (found.text.strip() or None) if found else None


class _Tree(ContentHandler):
    """Builds the nodes, remembering lines as ElementTree does not."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Node("", 0)
        self._open = [self.root]
        self._locator: Locator | None = None

    def setDocumentLocator(self, locator: Locator) -> None:
        self._locator = locator

    def startElementNS(
        self, name: tuple[str | None, str], qname: str | None, attrs: AttributesNSImpl
    ) -> None:
        line = self._locator.getLineNumber() if self._locator else None
        node = Node(name[1], line or 0, attrs.get((None, "Ccy")))
        self._open[-1].children.append(node)
        self._open.append(node)

    def endElementNS(self, name: tuple[str | None, str], qname: str | None) -> None:
        self._open.pop()

    def characters(self, content: str) -> None:
        self._open[-1].text += content


def read_camt(data: bytes, account: str | None = None) -> Statement:
    """The entries of the file's one account, or of the `account` (IBAN or number) asked for.

    Raises UnreadableStatement with every problem found.
    """
    root = _parse(data)
    statements = list(root.all("Document", "BkToCstmrStmt", "Stmt"))
    if not statements:
        raise UnreadableStatement([Problem(1, "BkToCstmrStmt", "not a camt.053 statement")])
    accounts = sorted({_account(statement) or "?" for statement in statements})
    if account is None and len(accounts) > 1:
        message = f"the file holds {', '.join(accounts)}; say which with --statement"
        raise UnreadableStatement([Problem(None, "Acct", message)])
    chosen = [one for one in statements if account in (None, _account(one))]
    if not chosen:
        raise UnreadableStatement(
            [Problem(None, "Acct", f"no statement of {account}, only of {', '.join(accounts)}")]
        )
    problems: list[Problem] = []
    entries: list[Entry] = []
    for statement in chosen:
        for node in statement.all("Ntry"):
            entry = _entry(node, problems)
            if entry is not None:
                entries.append(entry)
    if problems:
        raise UnreadableStatement(problems)
    return Statement("CAMT.053", _account(chosen[0]), tuple(entries))


def _parse(data: bytes) -> Node:
    tree = _Tree()
    parser = make_parser()
    parser.setFeature(feature_namespaces, True)
    parser.setContentHandler(tree)
    try:
        parser.parse(BytesIO(data))
    except SAXParseException as error:
        raise UnreadableStatement(
            [Problem(error.getLineNumber(), "XML", error.getMessage())]
        ) from error
    except DefusedXmlException as error:
        raise UnreadableStatement(
            [Problem(None, "XML", "entity and DTD declarations are refused")]
        ) from error
    return tree.root


def _account(statement: Node) -> str | None:
    return statement.value("Acct", "Id", "IBAN") or statement.value("Acct", "Id", "Othr", "Id")


def _entry(node: Node, problems: list[Problem]) -> Entry | None:
    """One booked or pending entry; None for information only, or with its problems noted."""
    status = node.value("Sts", "Cd") or node.value("Sts") or "BOOK"
    if status == "INFO":
        return None
    found = len(problems)
    amount, currency = _amount(node, problems)
    booked = _day(node, "BookgDt", problems) or _day(node, "ValDt", problems)
    if booked is None and len(problems) == found:
        problems.append(Problem(node.line, "BookgDt", "is missing, and so is ValDt"))
    if status not in ("BOOK", "PDNG"):
        problems.append(Problem(node.line, "Sts", f"{status!r} is none of BOOK, PDNG, INFO"))
    if len(problems) > found or amount is None or booked is None:
        return None
    details = node.find("NtryDtls", "TxDtls") or Node("", node.line)
    party = "Dbtr" if amount > 0 else "Cdtr"
    reference = (
        node.value("AcctSvcrRef")
        or node.value("NtryRef")
        or details.value("Refs", "AcctSvcrRef")
        or details.value("Refs", "TxId")
        or details.value("Refs", "EndToEndId")
    )
    words = [one.text.strip() for one in details.all("RmtInf", "Ustrd")]
    return Entry(
        line=node.line,
        booked=booked,
        amount=amount,
        currency=currency,
        reference=reference_or_none(reference),
        valued=_day(node, "ValDt", problems),
        counterparty=details.value("RltdPties", party, "Pty", "Nm")
        or details.value("RltdPties", party, "Nm"),
        description=" ".join(words) or node.value("AddtlNtryInf"),
        pending=status == "PDNG",
    )


def _amount(node: Node, problems: list[Problem]) -> tuple[Decimal | None, str | None]:
    """Signed by the indicator; a reversal's indicator already says where the money went."""
    stated, indicator = node.find("Amt"), node.value("CdtDbtInd")
    if stated is None:
        problems.append(Problem(node.line, "Amt", "is missing"))
        return None, None
    text = stated.text.strip()
    if not AMOUNT.fullmatch(text):
        problems.append(Problem(stated.line, "Amt", f"{text!r} is not an amount"))
        return None, None
    if indicator not in ("CRDT", "DBIT"):
        message = f"{indicator!r} is neither CRDT nor DBIT"
        problems.append(Problem(node.line, "CdtDbtInd", message))
        return None, None
    amount = Decimal(text)
    return (amount if indicator == "CRDT" else -amount), stated.currency


def _day(node: Node, name: str, problems: list[Problem]) -> date | None:
    """The date as the bank states it; of a moment, the date in the offset that it is given in."""
    stated = node.find(name, "Dt") or node.find(name, "DtTm")
    if stated is None:
        return None
    text = stated.text.strip()
    try:
        if stated.name == "DtTm":
            return datetime.fromisoformat(text).date()
        return date.fromisoformat(text[:10])
    except ValueError:
        problems.append(Problem(stated.line, name, f"{text!r} is not a date"))
        return None

"""`streams` as it is after a release that knows one type more: an old version of a posting.

The version before the first one gives amounts in minor units; its upcast makes them decimals.
"""

from __future__ import annotations

from typing import Any

from compose.cli import main
from schemas.events.fields import Data, Id, Positive
from schemas.registry import TYPES, EventType
from schemas.topics import BFC_LEDGER
from schemas.upcasts import UPCASTS

OLD_TYPE = "bfc.transaction.posted.v0"


class TransactionPosted0(Data):
    """A posting with its amount in hundredths."""

    transaction: Id
    account: Id
    hundredths: Positive


def transaction_posted_0_to_1(data: dict[str, Any]) -> dict[str, Any]:
    """Credits in rupees, all of them posted."""
    rest = {name: value for name, value in data.items() if name != "hundredths"}
    whole, cents = divmod(data["hundredths"], 100)
    return {
        **rest,
        "amount": f"{whole}.{cents:02d}",
        "direction": "credit",
        "currency": "INR",
        "status": "posted",
    }


def register() -> None:
    """Make the type known to this process."""
    name, _, _ = OLD_TYPE.rpartition(".")
    TYPES[OLD_TYPE] = EventType(name, 0, TransactionPosted0, BFC_LEDGER)
    UPCASTS[name, 0] = transaction_posted_0_to_1


if __name__ == "__main__":
    register()
    main()

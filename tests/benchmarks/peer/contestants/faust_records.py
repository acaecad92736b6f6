"""What both programs with stock Faust share: the app, and the event as a record."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import faust

from tests.benchmarks.peer.contestants.batch import Transaction
from tests.benchmarks.peer.contestants.given import Given


class Data(faust.Record, coerce=True):
    """Names as on the wire."""

    account: str
    direction: str
    amount: Decimal
    currency: str
    category: str
    merchant: str
    balanceAfter: Decimal


# Faust's own parser takes the milliseconds of a time for microseconds.
class Posted(faust.Record, serializer="json", coerce=True, date_parser=datetime.fromisoformat):
    """A posting."""

    id: str
    time: datetime
    userid: str
    data: Data


def row_of(posted: Posted) -> Transaction:
    """The posting as a row."""
    data = posted.data
    return (
        posted.id,
        posted.userid,
        data.account,
        posted.time,
        data.amount if data.direction == "credit" else -data.amount,
        data.currency,
        data.category,
        data.merchant,
        data.balanceAfter,
    )


def app_of(task: Given) -> tuple[faust.App, Any]:
    """The app and the topic of postings."""
    app = faust.App(
        task.group,
        broker=f"kafka://{task.kafka}",
        store="memory://",
        datadir=task.folder,
        topic_partitions=task.partitions,
        key_serializer="raw",
    )
    return app, app.topic(task.topic, value_type=Posted, partitions=task.partitions)

"""What every contestant is told by its environment, and the moment of its first events."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import NamedTuple


class Given(NamedTuple):
    """Where to read and where to write."""

    kafka: str
    #: A database with the tables of `tables.sql` and a checkpoint of 0 for each partition.
    postgres: str
    topic: str
    partitions: int
    group: str
    #: For files of the framework's own.
    folder: str


def given() -> Given:
    """The contestant's task, from `PEER_…`."""
    return Given(
        os.environ["PEER_KAFKA"],
        os.environ["PEER_POSTGRES"],
        os.environ["PEER_TOPIC"],
        int(os.environ["PEER_PARTITIONS"]),
        os.environ["PEER_GROUP"],
        os.environ["PEER_FOLDER"],
    )


#: Events of one batch at most, where a program chooses it. Larger ones gain them nothing.
BATCH_EVENTS_MAX = 5_000

_marked = False


def mark_first() -> None:
    """Called with the first events in hand: from then on time counts. Later calls do nothing."""
    global _marked
    if _marked:
        return
    _marked = True
    mark = Path(os.environ["PEER_MARK"])
    whole = mark.with_suffix(f".{os.getpid()}")
    whole.write_text(json.dumps({"time": time.time(), "pid": os.getpid()}))
    # Seen whole or not at all.
    whole.rename(mark)

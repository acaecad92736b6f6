"""How long one event takes to decode, by type, in batches of 500 as our own producer writes them.

The least of many batches counts: it is what the code costs when nobody else wants the processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from schemas.codec import RawRecord, decode_batch, decode_carefully, encode
from tests.builders import posted, records_of, step, tick, trade

BATCH = 500
SECONDS = 2.0


def least(run: Callable[[], Any]) -> float:
    """Microseconds an event."""
    best = float("inf")
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best / BATCH * 1e6


def batches() -> dict[str, list[RawRecord]]:
    """Five hundred events of some types, of different people and symbols."""
    trace = "019c5f3e-7a41-7c52-9b1e-3f2f6d0c8a11"
    users = [f"usr_{n % 97}" for n in range(BATCH)]
    postings = [
        posted(
            f"{n * 7919 % 100_000 + 1}.{n % 100:02d}",
            user=user,
            account=f"acc_{n % 200}",
            subject=f"acc_{n % 200}",
            correlation_id=trace,
            category="food",
            merchant="Big Bazaar",
            mcc="5411",
            description="Card payment",
            balanceAfter=f"{n}.00",
        )
        for n, user in enumerate(users)
    ]
    trades = [trade(f"{n + 1}", f"{n}.25", user=user, fee="1.20") for n, user in enumerate(users)]
    ticks = [tick(f"S{n % 50}", f"{n}.25") for n in range(BATCH)]
    steps = [step("signup", user=user, page="/register") for user in users]
    lists = {"posted": postings, "trade": trades, "tick": ticks, "step": steps}
    return {name: records_of(drafts) for name, drafts in lists.items()}


def main() -> None:
    """Print a line per type."""
    made = batches()
    for name, records in made.items():
        partitions = {records[0].topic: 6}
        values = [record.value or b"" for record in records]
        parsed = least(lambda values=values: [msgspec.json.decode(value) for value in values])  # type: ignore[misc]
        decoded = least(lambda r=records, p=partitions: decode_batch(r, partitions=p))  # type: ignore[misc]
        careful = least(lambda r=records: [decode_carefully(record, 6) for record in r])  # type: ignore[misc]
        print(
            f"{name:8} {len(values[0]):4} bytes   decode_batch {decoded:5.2f} µs an event   "
            f"careful {careful:5.1f}   bare msgspec to dicts {parsed:4.2f}"
        )
    drafts = [posted(f"{n + 1}.00") for n in range(BATCH)]
    print(f"encode, checked {least(lambda: [encode(draft) for draft in drafts]):5.2f} µs an event")


if __name__ == "__main__":
    main()

"""The sum of money, at every read: what the ledger says up to the checkpoints, to the paisa."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg

from projections.batch import Partition
from schemas.envelope import Event
from tests.faults.following import Following, following
from tests.faults.parts import Broken, Target
from tests.recomputed import decoded

LEDGER = "bfc.ledger"

#: Seconds between two snapshots, and until a database that says nothing is asked again.
LOOK_SECONDS = 0.25
CONNECT_SECONDS_MAX = 5.0
ANSWER_SECONDS_MAX = 10.0

#: A connection that is lost while it sends shows as the driver's confusion about its own state.
_LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresError,
)

Account = tuple[str, str, str]


class Snapshot(NamedTuple):
    """What one look saw: how far each partition is folded, and what is on the accounts."""

    offsets: dict[int, int]
    balances: dict[Account, Decimal]


class Ledger:
    """Openings and postings added up in plain Python, each (source, id) once."""

    def __init__(self) -> None:
        self.balances: dict[Account, Decimal] = {}
        #: Of rupees: what the accounts began with, and what else came from outside.
        self.openings = Decimal(0)
        #: Movements of which one side is folded and the other is not: what it put there.
        self.transit: dict[str, Decimal] = {}
        self._currency: dict[tuple[str, str], str] = {}
        self._seen: set[tuple[str, str]] = set()

    def add(self, event: Event) -> None:
        """One event, in the order of its partition."""
        key = (event.source, event.id)
        if key in self._seen:
            return
        if event.type == "bfc.account.opened":
            done = self._open(event)
        elif event.type == "bfc.transaction.posted":
            done = self._post(event)
        else:
            done = True
        if done:
            self._seen.add(key)

    def _open(self, event: Event) -> bool:
        data, account = event.data, (event.user_id or "", event.data.account)
        if account in self._currency:
            return False
        self._currency[account] = data.currency
        if data.opening_balance is not None:
            self._move(event, data.currency, data.opening_balance)
            self.openings += data.opening_balance if data.currency == "INR" else 0
        return True

    def _post(self, event: Event) -> bool:
        data = event.data
        known = self._currency.get((event.user_id or "", data.account), data.currency)
        if known != data.currency:
            return False
        if data.status == "posted":
            amount = data.amount if data.direction == "credit" else -data.amount
            self._move(event, data.currency, amount)
            self._pair(event, amount)
        return True

    def _move(self, event: Event, currency: str, amount: Decimal) -> None:
        account = (event.user_id or "", event.data.account, currency)
        self.balances[account] = self.balances.get(account, Decimal(0)) + amount

    def _pair(self, event: Event, amount: Decimal) -> None:
        name = event.correlation_id
        if event.data.currency != "INR":
            return
        if name is None:
            self.openings += amount
            return
        waits = self.transit.pop(name, Decimal(0)) + amount
        if waits:
            self.transit[name] = waits


class MoneyWitness:
    """Compares snapshots of the balances with the ledger below their own checkpoints."""

    name = "money"

    def __init__(self, target: Target) -> None:
        self.observations = 0
        self._target = target
        self._ledger = Ledger()
        self._folded: dict[int, int] = {}
        self._read: dict[Partition, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Look again and again; see ``parts.Witness``."""
        async with following(self._target.kafka, [LEDGER]) as log:
            while not stop.is_set():
                snapshot = await self._snapshot()
                if snapshot is not None:
                    await self._compare(snapshot, log)
                    self.observations += 1
                await asyncio.sleep(LOOK_SECONDS)

    async def _snapshot(self) -> Snapshot | None:
        """One consistent look; None if the database does not answer now."""
        try:
            connection = await asyncpg.connect(
                self._target.postgres,
                timeout=CONNECT_SECONDS_MAX,
                command_timeout=ANSWER_SECONDS_MAX,
            )
            try:
                return await _look(connection)
            finally:
                connection.terminate()
        except _LOST as error:
            if _is_ours(error):
                raise
            return None

    async def _compare(self, snapshot: Snapshot, log: Following) -> None:
        for partition, offset in self._folded.items():
            now = snapshot.offsets.get(partition, 0)
            if now < offset:
                raise Broken(f"net_worth went back on {LEDGER}:{partition}, from {offset} to {now}")
        self._folded = snapshot.offsets
        ends = {Partition(LEDGER, number): end for number, end in snapshot.offsets.items()}
        await log.upto(ends)
        for event in self._new(ends, log):
            self._ledger.add(event)
        self._accounts(snapshot)
        self._total(snapshot)

    def _new(self, ends: Mapping[Partition, int], log: Following) -> Iterator[Event]:
        for place, end in ends.items():
            records = log.records[place]
            first = last = self._read.get(place, 0)
            while last < len(records) and records[last].offset < end:
                last += 1
            self._read[place] = last
            for event in decoded(records[first:last]):
                if isinstance(event, Event):
                    yield event

    def _accounts(self, snapshot: Snapshot) -> None:
        wanted = self._ledger.balances
        for account in wanted.keys() | snapshot.balances.keys():
            found, right = snapshot.balances.get(account), wanted.get(account)
            if found != right:
                raise Broken(
                    f"balance of {'/'.join(account)} is {found}, the ledger says {right}"
                    f" (folded to {snapshot.offsets})"
                )

    def _total(self, snapshot: Snapshot) -> None:
        held = sum(amount for (*_, code), amount in snapshot.balances.items() if code == "INR")
        moving = sum(self._ledger.transit.values())
        if held - moving != self._ledger.openings:
            raise Broken(
                f"the sum of money is {held - moving} INR ({moving} on its way), it was"
                f" {self._ledger.openings} (folded to {snapshot.offsets})"
            )


async def _look(connection: Any) -> Snapshot:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        moved = await connection.fetch(
            "select partition, next_offset from checkpoints"
            " where projection = 'net_worth' and topic = $1",
            LEDGER,
        )
        rows = await connection.fetch(
            "select user_id, account, currency, amount from balances where platform = 'bfc'"
        )
    return Snapshot(
        {row["partition"]: row["next_offset"] for row in moved},
        {(row["user_id"], row["account"], row["currency"]): row["amount"] for row in rows},
    )


def _is_ours(error: BaseException) -> bool:
    """Whether the question is wrong; everything else is the database being away."""
    state = getattr(error, "sqlstate", None) or ""
    return str(state).startswith(("42", "22"))

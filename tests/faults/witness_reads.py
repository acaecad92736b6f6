"""What a person reads over HTTP: never older than before, and never without their own writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx

from schemas.envelope import Draft, document_of, now
from schemas.position import PositionToken
from tests.builders import opened, posted
from tests.faults.calling import Caller
from tests.faults.parts import Broken, Target, together

#: People who write and read in turn.
READERS = 4

#: Seconds from one turn to the next: five questions each, and a person may ask 100 a minute.
TURN_SECONDS = 3.2

#: Seconds in which a system at rest must answer the last questions.
LAST_SECONDS_MAX = 45.0

#: Postings of one five-second group of notifications.
GROUP_SIZE = 40

NET_WORTH = "/api/wealth/net-worth"
NOTIFICATIONS = "/api/notifications"
POSITION = "Streams-Position"
CURRENCY = "SGD"
LEDGER = "bfc.ledger"

#: How many payments an answer shows.
Figure = Callable[[Any], Decimal]


class Reader:
    """One person who pays one dollar into their account, again and again, and looks."""

    def __init__(self, target: Target, number: int) -> None:
        self.observations = 0
        self._user = f"usr_reader_{target.seed}_{number}"
        self._account = f"acc_reader_{target.seed}_{number}"
        self._caller = Caller(target, self._user, "producer")
        #: Payments that were accepted, and those that were begun.
        self._accepted = self._begun = 0
        #: What was read and written so far.
        self._own = PositionToken()
        self._seen: dict[str, PositionToken] = {}
        self._last: dict[str, Decimal] = {}
        self._start = now() - timedelta(hours=2)

    async def run(self, stop: asyncio.Event) -> None:
        """Write and read in turn; at the end everything must be there and right."""
        opening = opened(self._account, CURRENCY, user=self._user, openingBalance="0")
        while not await self._say(opening):
            if stop.is_set():
                return
        while not stop.is_set():
            await self._turn()
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue
        try:
            async with asyncio.timeout(LAST_SECONDS_MAX):
                await self._settle()
        except TimeoutError:
            raise Broken(
                f"{self._user} gets no answers {LAST_SECONDS_MAX:g} s after the end"
            ) from None

    async def _turn(self) -> None:
        if self._begun == self._accepted:
            self._begun += 1
        if await self._say(self._payment(self._begun)):
            self._accepted = self._begun
        await self._glance()
        await self._look()

    async def _settle(self) -> None:
        while self._accepted < self._begun:
            if await self._say(self._payment(self._begun)):
                self._accepted = self._begun
        while not await self._look():
            continue

    async def _look(self) -> bool:
        """Both lists, not older than they were and with all that was written."""
        money = await self._read(NET_WORTH, {"currency": CURRENCY}, self._balance)
        told = await self._read(NOTIFICATIONS, {"limit": 200}, _payments_told)
        return money and told

    async def _glance(self) -> None:
        """The same, but without waiting for what was written: only never back."""
        for path, params, figure in (
            (NET_WORTH, {"currency": CURRENCY}, self._balance),
            (NOTIFICATIONS, {"limit": 200}, _payments_told),
        ):
            await self._read(path, params, figure, self._seen.get(path, PositionToken()))

    def _payment(self, number: int) -> Draft:
        group, place = divmod(number, GROUP_SIZE)
        time = self._start + timedelta(minutes=group, milliseconds=50 * place)
        name = f"{self._user}-{number}"
        return posted(
            "1.00", "credit", self._account, CURRENCY, user=self._user, time=time, id=name
        )

    async def _say(self, draft: Draft) -> bool:
        """Append an event; False if it is not known whether it was."""
        answer = await self._caller.ask("POST", "/api/events", document_of(draft, "bfc"))
        if answer is None:
            return False
        if answer.status_code != 202:
            raise Broken(f"POST /api/events: {answer.status_code} {answer.text[:300]}")
        self._own = self._own.merge(PositionToken.parse(answer.headers[POSITION]))
        return True

    async def _read(
        self, path: str, params: dict[str, Any], figure: Figure, at: PositionToken | None = None
    ) -> bool:
        """One question, with all that was seen and written or ``at``; False without an answer."""
        asked, begun = at if at is not None else self._own, self._begun
        accepted = self._accepted if at is None else 0
        answer = await self._caller.ask("GET", path, headers={POSITION: asked.encode()}, **params)
        if answer is None:
            return False
        if answer.status_code != 200:
            raise Broken(f"GET {path}: {answer.status_code} {answer.text[:300]}")
        self._position(path, answer, asked)
        amount = figure(answer.json())
        where = f"GET {path} of {self._user} at {answer.headers[POSITION]}"
        if not accepted <= amount <= begun:
            raise Broken(f"{where} shows {amount} payments, {accepted} were accepted of {begun}")
        if amount < self._last.get(path, Decimal(0)):
            raise Broken(f"{where} shows {amount} payments after {self._last[path]}")
        self._last[path] = amount
        self.observations += 1
        return True

    def _position(self, path: str, answer: httpx.Response, asked: PositionToken) -> None:
        reflected = PositionToken.parse(answer.headers[POSITION])
        before = self._seen.get(path, PositionToken())
        # What was asked for names the sources of other answers, too.
        bearing = {
            place: offset
            for place, offset in asked.positions.items()
            if place in reflected.positions or place[0] == LEDGER
        }
        if not reflected.covers(PositionToken(bearing)):
            raise Broken(f"GET {path} of {self._user} reflects {reflected}, asked for {asked}")
        if not reflected.covers(before):
            raise Broken(f"GET {path} of {self._user} went back from {before} to {reflected}")
        self._seen[path] = reflected
        self._own = self._own.merge(reflected)

    def _balance(self, answer: Any) -> Decimal:
        for line in answer["accounts"]:
            if line["account"] == self._account:
                return Decimal(line["balance"]["amount"])
        return Decimal(0)


class ReadsWitness:
    """Some readers at once."""

    name = "reads"

    def __init__(self, target: Target) -> None:
        self._readers = [Reader(target, number) for number in range(READERS)]

    @property
    def observations(self) -> int:
        return sum(reader.observations for reader in self._readers)

    async def run(self, stop: asyncio.Event) -> None:
        """See ``parts.Witness``."""
        async with together() as group:
            for reader in self._readers:
                group.create_task(reader.run(stop))


def _payments_told(answer: Any) -> Decimal:
    told = [item for item in answer["items"] if item["category"] == "transaction"]
    return Decimal(sum(item["count"] for item in told))


assert GROUP_SIZE * timedelta(milliseconds=50) < timedelta(seconds=5)

"""Clients of the live tail that lose their connection all the time and miss and repeat nothing.

Each keeps, by partition, the ids it was shown. At the end these must be the log's own: the same
events, in the same order, as often as they stand there.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from projections.batch import Partition
from schemas.envelope import Event
from schemas.limits import partitions_embedded
from schemas.registry import TYPES
from schemas.topics import KeyKind, partition_of
from tests.e2e.system import read_log
from tests.faults.parts import Broken, Target, together
from tests.recomputed import decoded

#: Seconds that a connection lives before the client cuts it, and until it comes again.
LIFE_SECONDS = (0.3, 9.0)
AGAIN_SECONDS = (0.05, 0.8)
CONNECT_SECONDS_MAX = 8.0

#: Nothing comes for so long: the connection is as good as dead. Heartbeats come every 15 s.
SILENT_SECONDS_MAX = 20.0

#: Seconds until a client must have seen all of a log at rest.
LAST_SECONDS_MAX = 45.0

#: Close codes after which a client comes again: restart, too slow, connection lost, too often.
COME_AGAIN = frozenset({1000, 1001, 1006, 1011, 1012, 4008})
TOO_OFTEN = 4403

_OWN = ("bfc.*", "vyomo.*", "notification.raised.*", "rule.triggered.*", "action.*")
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True)
class Kind:
    """Who a client is, by which way it comes and what it asks for; no types: all there are."""

    user: str
    scopes: tuple[str, ...] = ()
    sse: bool = False
    types: tuple[str, ...] = ()

    @property
    def sees_all(self) -> bool:
        return bool(self.scopes)

    def __str__(self) -> str:
        return f"{self.user} over {'server-sent events' if self.sse else 'WebSocket'}"


KINDS = (
    Kind("usr_watch_1", ("consumer",)),
    Kind("usr_watch_2", ("operator",), sse=True),
    Kind("usr_03", types=_OWN),
    Kind("usr_04", types=_OWN, sse=True),
)


class Cut(Exception):
    """The connection is gone; come again."""


@dataclass
class Client:
    """One client: what it was shown by partition, and where it goes on."""

    kind: Kind
    target: Target
    chance: random.Random
    cursor: str = "earliest"
    shown: dict[Partition, list[tuple[str, str]]] = field(default_factory=dict)
    count: int = 0
    connections: int = 0

    async def run(self) -> None:
        """Connect, read, lose it, come again: until cancelled."""
        while True:
            self.connections += 1
            try:
                async with asyncio.timeout(self.chance.uniform(*LIFE_SECONDS)):
                    await (self._server_sent() if self.kind.sse else self._websocket())
            except (Cut, TimeoutError, OSError, WebSocketException, httpx.TransportError):
                await asyncio.sleep(self.chance.uniform(*AGAIN_SECONDS))

    async def _websocket(self) -> None:
        url = self.target.gateway().replace("http", "ws", 1) + f"/ws/sync?{self._query()}"
        headers = {"Authorization": f"Bearer {self._token()}"}
        async with connect(
            url,
            additional_headers=headers,
            compression=None,
            open_timeout=CONNECT_SECONDS_MAX,
            close_timeout=0.1,
            max_size=None,
            proxy=None,
        ) as socket:
            try:
                while True:
                    async with asyncio.timeout(SILENT_SECONDS_MAX):
                        self._take(await socket.recv())
            except ConnectionClosed as closed:
                await self._closed(closed)

    async def _closed(self, closed: ConnectionClosed) -> None:
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
        if code == TOO_OFTEN and reason.startswith("too many"):
            await asyncio.sleep(AGAIN_SECONDS[1])
        elif code not in COME_AGAIN:
            raise Broken(f"tail of {self.kind} was closed with {code} {reason!r}")
        raise Cut

    async def _server_sent(self) -> None:
        url = f"{self.target.gateway()}/api/sync/stream?{self._query()}"
        headers = {"Authorization": f"Bearer {self._token()}", "Last-Event-ID": self.cursor}
        timeout = httpx.Timeout(CONNECT_SECONDS_MAX, read=SILENT_SECONDS_MAX)
        async with (
            httpx.AsyncClient(verify=_NO_TLS, timeout=timeout) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            if answer.status_code in (429, 502, 503):
                raise Cut
            if answer.status_code != 200:
                text = (await answer.aread()).decode(errors="replace")
                raise Broken(f"tail of {self.kind}: {answer.status_code} {text[:300]}")
            data = ""
            async for line in answer.aiter_lines():
                # An event counts when its empty line has come; half a one does not.
                if line.startswith("data: "):
                    data = line.removeprefix("data: ")
                elif line == "" and data:
                    self._take(data)
                    data = ""
        raise Cut

    def _take(self, frame: str | bytes) -> None:
        message: dict[str, Any] = msgspec.json.decode(frame)
        if message["kind"] == "event":
            event = message["event"]
            key = (event["source"], event["id"])
            self.shown.setdefault(place_of(event), []).append(key)
            self.count += 1
        self.cursor = message["cursor"]

    def _query(self) -> str:
        asked = {"from": self.cursor}
        if self.kind.types:
            asked["types"] = ",".join(self.kind.types)
        return urlencode(asked)

    def _token(self) -> str:
        return self.target.token(self.kind.user, *self.kind.scopes)


class TailWitness:
    """Some clients at once, held against the log at the end."""

    name = "tail"

    def __init__(self, target: Target) -> None:
        self._target = target
        self.clients = [
            Client(kind, target, random.Random(f"tail {target.seed} {number}"))
            for number, kind in enumerate(KINDS)
        ]

    @property
    def observations(self) -> int:
        return sum(client.count for client in self.clients)

    @property
    def connections(self) -> int:
        """How often a client came."""
        return sum(client.connections for client in self.clients)

    async def run(self, stop: asyncio.Event) -> None:
        """See ``parts.Witness``; the log must be at rest when ``stop`` is set."""
        async with together() as group:
            tasks = [group.create_task(client.run()) for client in self.clients]
            await stop.wait()
            await self._complete()
            for task in tasks:
                task.cancel()

    async def _complete(self) -> None:
        """Every client must come to have just what the log has; somebody may still be writing."""
        deadline = asyncio.get_running_loop().time() + LAST_SECONDS_MAX
        while True:
            events = await asyncio.to_thread(_events, self._target.kafka)
            wanted = [shown_to(client.kind, events) for client in self.clients]
            pairs = list(zip(self.clients, wanted, strict=True))
            if all(client.shown == right for client, right in pairs):
                return
            if asyncio.get_running_loop().time() > deadline:
                for client, right in pairs:
                    _compare(client, right)
            await asyncio.sleep(AGAIN_SECONDS[1])


def place_of(event: dict[str, Any]) -> Partition:
    """The partition of an event as JSON: that of its topic and key."""
    topic = TYPES[event["type"]].topic
    data = event["data"]
    keys = {
        KeyKind.SYMBOL: lambda: data["symbol"],
        KeyKind.PAIR: lambda: data["base"] + data["quote"],
        KeyKind.SESSION: lambda: event.get("userid") or data["session"],
    }
    key: str = keys.get(topic.key, lambda: event["userid"])()
    return Partition(topic.name, partition_of(key.encode(), partitions_embedded))


def shown_to(kind: Kind, events: Sequence[Event]) -> dict[Partition, list[tuple[str, str]]]:
    """What a client of that kind must be shown of a log, by partition."""
    shown: dict[Partition, list[tuple[str, str]]] = {}
    for event in events:
        name = f"{event.type}.v{event.wire_version}"
        asked = not kind.types or any(fnmatchcase(name, pattern) for pattern in kind.types)
        if asked and (kind.sees_all or event.user_id == kind.user):
            place = Partition(*event.position[:2])
            shown.setdefault(place, []).append((event.source, event.id))
    return shown


def _events(kafka: str) -> list[Event]:
    records = [record for record in read_log(kafka) if record.topic != "dead-letters"]
    return [event for event in decoded(records) if isinstance(event, Event)]


def _compare(client: Client, wanted: dict[Partition, list[tuple[str, str]]]) -> None:
    for place in sorted(client.shown.keys() | wanted.keys()):
        shown, right = client.shown.get(place, []), wanted.get(place, [])
        for number, (found, expected) in enumerate(zip_longest(shown, right)):
            if found != expected:
                raise Broken(
                    f"tail of {client.kind}: event {number} of {place.topic}:{place.partition} is"
                    f" {found}, the log has {expected} ({len(shown)} shown of {len(right)})"
                )

"""Who may tail, and from where: one way for WebSocket and server-sent events."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol

from gateway.auth import Principal
from gateway.log import Follower
from gateway.seals import Seal
from gateway.settings import TailSettings
from gateway.tail.cursor import CURSOR_LENGTH_MAX, offsets_of
from gateway.tail.history import History
from gateway.tail.hub import Hub
from gateway.tail.selection import patterns_of, selection_of, shape_of
from gateway.tail.subscription import Start, Subscription
from projections.store import Unavailable
from schemas.errors import Invalid

#: Of a close frame's reason (RFC 6455, 5.5.1).
REASON_BYTES_MAX = 123

#: The first byte of a payload that stands for one that is kept elsewhere.
_KEPT = 0xFF
_KEPT_ID_BYTES = 16

#: Seconds that a client waits for a feed that is just starting.
RUNNING_SECONDS_MAX = 5.0


class Keeper(Protocol):
    """Keeps payloads that are too long for a close frame, for all gateway processes."""

    async def keep(self, kept_id: bytes, payload: bytes) -> None:
        """Raises Unavailable."""

    async def find(self, kept_id: bytes) -> bytes | None:
        """What was kept, or None; raises Unavailable."""


class Full(Exception):
    """This process has as many tail clients as it takes."""


class Admission:
    """Makes subscriptions, and cursors that other processes understand."""

    def __init__(
        self, hub: Hub, follower: Follower, history: History, seal: Seal, keeper: Keeper
    ) -> None:
        self._hub = hub
        self._follower = follower
        self._history = history
        self._seal = seal
        self._keeper = keeper

    @property
    def settings(self) -> TailSettings:
        return self._hub.settings

    async def start_of(self, principal: Principal, place: str | None) -> Start:
        """What ``from`` means: a cursor, ``earliest``, or ``latest`` (also when there is none).

        Raises:
            Invalid: the cursor is not one of this person in this log.
            Unavailable: it was kept elsewhere and can't be had now, or the log is not read now.
        """
        if place is None or place in ("", "latest"):
            return Start({})
        if place == "earliest":
            return Start(None)
        if len(place) > CURSOR_LENGTH_MAX:
            raise Invalid("is not a cursor of this gateway")
        # Until then it is not known which log there is.
        await self._hub.running(RUNNING_SECONDS_MAX)
        payload = self._seal.open(place, "tail", principal.user_id, self._hub.log)
        if payload[:1] == bytes((_KEPT,)):
            kept = await self._keeper.find(payload[1:])
            if kept is None:
                raise Invalid("is a cursor that is not kept any more")
            payload = kept
        return Start(offsets_of(payload))

    async def subscribe(self, principal: Principal, types: Sequence[str]) -> Subscription:
        """A subscription of this person to these type patterns; whoever gets it must end it.

        Raises:
            Invalid: a pattern is none.
            Full: no more clients are taken.
            Unavailable: the log is not read now.
        """
        hub = self._hub
        selection = selection_of(principal, patterns_of(types))
        await hub.running(RUNNING_SECONDS_MAX)
        if hub.clients >= hub.settings.clients_max:
            raise Full
        shape = shape_of(selection, hub.partitions)
        # What was in the log before is history, what comes after is live, to the event.
        await self._follower.caught_up(shape.places)
        seal = self._seal.closing("tail", principal.user_id, hub.log)
        return Subscription(hub, selection, shape, seal, self._history)

    async def short_cursor(self, principal: Principal, payload: bytes) -> str:
        """A cursor that fits into a close frame: itself, or a name under which it is kept.

        Where it can be kept nowhere, the answer is a sentence: every message had a cursor, too.
        """
        log = self._hub.log
        whole = self._seal.close(payload, "tail", principal.user_id, log)
        if len(whole) <= REASON_BYTES_MAX:
            return whole
        kept_id = secrets.token_bytes(_KEPT_ID_BYTES)
        try:
            await self._keeper.keep(kept_id, payload)
        except Unavailable:
            return "too slow; go on from the cursor of the last message"
        return self._seal.close(bytes((_KEPT,)) + kept_id, "tail", principal.user_id, log)

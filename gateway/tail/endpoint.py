"""``WS /ws/sync``: refusals accept the handshake first, then close with a code that says why."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.auth import NotAuthenticated, Principal, Verifier, bearer
from gateway.limits import RateLimit
from gateway.problems import Problem
from gateway.tail.admission import Admission, Full
from gateway.tail.delivery import deliver
from gateway.tail.hub import Ending
from gateway.tail.subscription import Frame, Start, Subscription
from projections.store import Unavailable
from schemas.errors import Invalid

BEARER_PROTOCOL = "bearer."

BAD_REQUEST = 4400
NOT_AUTHENTICATED = 4401
NOT_ALLOWED = 4403
RESTART = 1012

_SAID = {
    Ending.EXPIRED: "the token has expired",
    Ending.BAD_CURSOR: "the log does not have what the cursor asks for; begin anew",
    Ending.RESTART: "come again with the last cursor",
}


class Refused(Exception):
    """The socket is to be closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class TailSocket:
    """The WebSocket endpoint."""

    def __init__(self, verifier: Verifier, rate: RateLimit, admission: Admission) -> None:
        self._verifier = verifier
        self._rate = rate
        self._admission = admission

    async def serve(self, websocket: WebSocket) -> None:
        """One client, from handshake to close.

        The subscription is made before the handshake is answered: whoever is connected misses
        nothing that happens from then on.
        """
        protocol = next(
            (p for p in websocket.scope["subprotocols"] if p.startswith(BEARER_PROTOCOL)), None
        )
        try:
            principal = await self._principal(websocket, protocol)
            start, subscription = await self._subscribe(websocket, principal)
        except Refused as refused:
            await _accept(websocket, protocol)
            await _close(websocket, refused.code, refused.reason)
            return
        try:
            await _accept(websocket, protocol)
            code, reason = await self._deliver(websocket, principal, start, subscription)
        finally:
            subscription.end(Ending.RESTART)
        if code:
            await _close(websocket, code, reason)

    async def _principal(self, websocket: WebSocket, protocol: str | None) -> Principal:
        token = bearer(websocket.headers.get("authorization"))
        if token is None and protocol is not None:
            token = protocol.removeprefix(BEARER_PROTOCOL)
        if not token:
            raise Refused(NOT_AUTHENTICATED, "a bearer token is needed, never in the URL")
        try:
            principal = await self._verifier.verify(token)
        except NotAuthenticated as error:
            raise Refused(NOT_AUTHENTICATED, str(error)) from None
        except Problem as problem:
            code = NOT_ALLOWED if problem.status == 403 else RESTART
            raise Refused(code, problem.detail) from None
        allowance = self._rate.take(principal.user_id)
        if not allowance.allowed:
            raise Refused(
                NOT_ALLOWED, f"too many requests; again in {allowance.reset_seconds} seconds"
            )
        return principal

    async def _subscribe(
        self, websocket: WebSocket, principal: Principal
    ) -> tuple[Start, Subscription]:
        query = websocket.query_params
        place = "from"
        try:
            start = await self._admission.start_of(principal, query.get("from"))
            place = "types"
            return start, await self._admission.subscribe(principal, query.getlist("types"))
        except Invalid as error:
            raise Refused(BAD_REQUEST, f"{place} {error}") from None
        except Full:
            raise Refused(RESTART, "this process takes no more clients now") from None
        except Unavailable:
            raise Refused(RESTART, "the log does not answer now") from None

    async def _deliver(
        self,
        websocket: WebSocket,
        principal: Principal,
        start: Start,
        subscription: Subscription,
    ) -> tuple[int, str]:
        async def send(frames: Sequence[Frame]) -> None:
            try:
                # `server.TailProtocol` takes several texts in one message.
                await websocket.send(
                    {"type": "websocket.send", "texts": [frame.text for frame in frames]}
                )
            except WebSocketDisconnect:
                raise ConnectionResetError from None

        async def gone() -> None:
            # What clients say is read and dropped: there is nothing to say.
            while (await websocket.receive())["type"] != "websocket.disconnect":
                pass

        ending = await deliver(
            subscription, start, principal, send, gone, self._admission.settings.send_seconds_max
        )
        if ending is None:
            return 0, ""
        if ending is Ending.SLOW:
            return ending.value, await self._admission.short_cursor(
                principal, subscription.sent_payload()
            )
        return ending.value, _SAID[ending]


async def _accept(websocket: WebSocket, protocol: str | None) -> None:
    try:
        await websocket.accept(subprotocol=protocol)
    except (WebSocketDisconnect, OSError):
        # The client has gone; what follows finds that out by itself.
        return


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    try:
        await websocket.close(code, reason.encode()[:123].decode(errors="ignore"))
    except (WebSocketDisconnect, RuntimeError, OSError):
        # The client was faster.
        return

"""``GET /api/sync/stream``: the tail as server-sent events; data is the WebSocket's message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.auth import Principal
from gateway.tail.delivery import deliver
from gateway.tail.hub import Ending
from gateway.tail.subscription import Frame, Start, Subscription

logger = logging.getLogger(__name__)

#: Milliseconds after which a browser comes again by itself.
RETRY_MS = 1_000

#: A reader that is closed for being slow gets this long to take the end of the stream.
END_SECONDS_MAX = 1.0


class EventStream(Response):
    """Streams a subscription; who can't follow is cut off and comes again by the last id."""

    media_type = "text/event-stream"

    def __init__(
        self,
        subscription: Subscription,
        start: Start,
        principal: Principal,
        send_seconds_max: float,
    ) -> None:
        super().__init__(
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            media_type=self.media_type,
        )
        self._subscription = subscription
        self._start = start
        self._principal = principal
        self._send_seconds_max = send_seconds_max

    def init_headers(self, headers: Any = None) -> None:
        """Without a length: the stream has none."""
        super().init_headers(headers)
        self.raw_headers = [item for item in self.raw_headers if item[0] != b"content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._stream(receive, send)
        finally:
            self._subscription.end(Ending.RESTART)

    async def _stream(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await _write(send, f"retry: {RETRY_MS}\n\n")

        async def send_frames(frames: Sequence[Frame]) -> None:
            await _write(send, "".join(map(_event, frames)))

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        ending = await deliver(
            self._subscription,
            self._start,
            self._principal,
            send_frames,
            gone,
            self._send_seconds_max,
        )
        if ending is not None:
            await _end(send)


def _event(frame: Frame) -> str:
    return f"id: {frame.cursor}\nevent: {frame.kind}\ndata: {frame.text}\n\n"


async def _write(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _end(send: Send) -> None:
    try:
        async with asyncio.timeout(END_SECONDS_MAX):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except (TimeoutError, OSError):
        # The server closes the connection when the application returns without an end.
        logger.info("a slow reader was cut off")

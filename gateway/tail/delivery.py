"""Carrying frames to a client until one side has enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from gateway.auth import Principal
from gateway.tail.hub import Ending
from gateway.tail.subscription import Frame, Start, Subscription
from projections.store import Unavailable

Send = Callable[[Sequence[Frame]], Awaitable[None]]


async def deliver(
    subscription: Subscription,
    start: Start,
    principal: Principal,
    send: Send,
    gone: Callable[[], Awaitable[None]],
    send_seconds_max: float,
) -> Ending | None:
    """Send frames until the subscription ends, the token expires or ``gone`` returns.

    Frames that were being sent when it ended count as not sent: a send either returns, and the
    transport has them all, or is cancelled before the transport took any.

    Returns:
        Why it was ended from this side; None if the client has gone.
    """
    loop = asyncio.get_running_loop()
    expiry = loop.call_later(
        max(0.0, principal.expires_at - time.time()), subscription.end, Ending.EXPIRED
    )
    watch = _Watch(loop, send_seconds_max, lambda: subscription.end(Ending.SLOW))
    sending = asyncio.create_task(_send_all(subscription, start, send, watch))
    going = asyncio.create_task(_wait(gone))
    try:
        waited: set[asyncio.Future[Any]] = {sending, going, subscription.over}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if subscription.over.done():
            return subscription.over.result()
        if sending.done():
            return sending.result()
        return None
    finally:
        expiry.cancel()
        watch.cancel()
        sending.cancel()
        going.cancel()
        await asyncio.gather(sending, going, return_exceptions=True)
        subscription.end(Ending.RESTART)


async def _wait(gone: Callable[[], Awaitable[None]]) -> None:
    await gone()


class _Watch:
    """Says when one send takes too long: one timer for all sends of a client, not one for each."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, too_long: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._too_long = too_long
        self._since: float | None = None
        self._timer = loop.call_later(seconds, self._look)

    def begins(self) -> None:
        """A send begins now."""
        self._since = self._loop.time()

    def ends(self) -> None:
        """It has returned."""
        self._since = None

    def cancel(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        due = (now if self._since is None else self._since) + self._seconds
        if due <= now:
            self._too_long()
        else:
            self._timer = self._loop.call_at(due, self._look)


async def _send_all(
    subscription: Subscription, start: Start, send: Send, watch: _Watch
) -> Ending | None:
    try:
        async with aclosing(subscription.frames(start)) as groups:
            async for frames in groups:
                watch.begins()
                await send(frames)
                watch.ends()
    except Unavailable:
        return Ending.RESTART
    except OSError:
        # The connection is lost; starlette's and the server's exceptions for it are OSErrors.
        return None
    return subscription.over.result() if subscription.over.done() else None

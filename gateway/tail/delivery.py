"""Carrying frames to a client until one side has enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from gateway.auth import Principal
from gateway.tail.hub import Ending
from gateway.tail.subscription import Frame, Start, Subscription
from projections.store import Unavailable

Send = Callable[[Frame], Awaitable[None]]


async def deliver(
    subscription: Subscription,
    start: Start,
    principal: Principal,
    send: Send,
    gone: Callable[[], Awaitable[None]],
    send_seconds_max: float,
) -> Ending | None:
    """Send frames until the subscription ends, the token expires or ``gone`` returns.

    A frame that was being sent when it ended counts as not sent: a send either returns, and the
    transport has the frame, or is cancelled before the transport took it.

    Returns:
        Why it was ended from this side; None if the client has gone.
    """
    loop = asyncio.get_running_loop()
    expiry = loop.call_later(
        max(0.0, principal.expires_at - time.time()), subscription.end, Ending.EXPIRED
    )
    sending = asyncio.create_task(_send_all(subscription, start, send, send_seconds_max))
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
        sending.cancel()
        going.cancel()
        await asyncio.gather(sending, going, return_exceptions=True)
        subscription.end(Ending.RESTART)


async def _wait(gone: Callable[[], Awaitable[None]]) -> None:
    await gone()


async def _send_all(
    subscription: Subscription, start: Start, send: Send, send_seconds_max: float
) -> Ending | None:
    try:
        async with aclosing(subscription.frames(start)) as frames:
            async for frame in frames:
                try:
                    async with asyncio.timeout(send_seconds_max):
                        await send(frame)
                except TimeoutError:
                    subscription.end(Ending.SLOW)
                    return Ending.SLOW
    except Unavailable:
        return Ending.RESTART
    except OSError:
        # The connection is lost; starlette's and the server's exceptions for it are OSErrors.
        return None
    return subscription.over.result() if subscription.over.done() else None

"""HTTP as people use it while everything breaks: a lost answer is no answer, not a failure."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from tests.faults.parts import Broken, Target

#: A gateway that is stopped says nothing; a person asks again after so long.
ANSWER_SECONDS_MAX = 8.0
AGAIN_SECONDS = 0.3

#: What says "not now": too many requests, a proxy's or the gateway's own word.
NOT_NOW = frozenset({429, 502, 503, 504})

# The addresses are plain HTTP; a context without certificates is made in no time.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Caller:
    """One person with a token, asking wherever the gateway is now."""

    def __init__(self, target: Target, user: str, *scopes: str) -> None:
        self.user = user
        self._target = target
        self._scopes = scopes

    @property
    def token(self) -> str:
        return self._target.token(self.user, *self._scopes)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> httpx.Response | None:
        """The answer; None if there was none, and whatever was asked for may have happened.

        Raises:
            Broken: the gateway failed inside, or said something that it must never say.
        """
        fields = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        try:
            async with httpx.AsyncClient(verify=_NO_TLS, timeout=ANSWER_SECONDS_MAX) as client:
                url = f"{self._target.gateway()}{path}"
                answer = await client.request(
                    method, url, headers=fields, json=body, params=params or None
                )
        except httpx.TransportError:
            await asyncio.sleep(AGAIN_SECONDS)
            return None
        if answer.status_code in NOT_NOW:
            after = float(answer.headers.get("Retry-After", AGAIN_SECONDS))
            await asyncio.sleep(min(after, ANSWER_SECONDS_MAX))
            return None
        if answer.status_code >= 500 or "Traceback" in answer.text:
            raise Broken(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer

    async def insist(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Ask until there is an answer."""
        while True:
            answer = await self.ask(method, path, body)
            if answer is not None:
                return answer

"""Keys that an identity provider publishes (RFC 7517), fetched seldom and kept."""

from __future__ import annotations

import asyncio
import logging
import time
import urllib.request
from typing import Any

import jwt

from gateway.problems import unavailable

logger = logging.getLogger(__name__)

#: A key set is asked for again after this time, so that a withdrawn key stops being believed.
KEPT_SECONDS = 300.0

#: An unknown key id asks at most this often: strangers must not make us ask.
ASK_SECONDS_MIN = 10.0

FETCH_SECONDS_MAX = 5.0
BODY_BYTES_MAX = 1024 * 1024

_ACCEPTED = ("RS256", "ES256")


class JwksKeys:
    """The key set at a URL; only signature keys for RS256 and ES256 count."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[tuple[str, str | None], Any] = {}
        self._fetched_at = float("-inf")
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def key_for(self, algorithm: str, key_id: str | None) -> Any | None:
        if algorithm not in _ACCEPTED:
            return None
        if self._needs_asking(algorithm, key_id):
            async with self._asking:
                if self._needs_asking(algorithm, key_id):
                    await self._ask()
        return self._keys.get((algorithm, key_id))

    def _needs_asking(self, algorithm: str, key_id: str | None) -> bool:
        now = time.monotonic()
        if now - self._asked_at < ASK_SECONDS_MIN:
            return False
        return now - self._fetched_at > KEPT_SECONDS or (algorithm, key_id) not in self._keys

    async def _ask(self) -> None:
        self._asked_at = time.monotonic()
        try:
            body = await asyncio.to_thread(_fetch, self._url)
            self._keys = _usable(jwt.PyJWKSet.from_json(body.decode()))
            self._fetched_at = self._asked_at
        except (OSError, ValueError, jwt.PyJWTError) as error:
            logger.warning("the key set at %s can't be had: %s", self._url, error)
            if not self._keys:
                raise unavailable("the keys that tokens are verified with can't be had") from None


def _fetch(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=FETCH_SECONDS_MAX) as answer:
        body: bytes = answer.read(BODY_BYTES_MAX + 1)
    if len(body) > BODY_BYTES_MAX:
        raise ValueError("the key set is too large")
    return body


def _usable(found: jwt.PyJWKSet) -> dict[tuple[str, str | None], Any]:
    keys: dict[tuple[str, str | None], Any] = {}
    for key in found.keys:
        algorithm = key.algorithm_name
        if algorithm in _ACCEPTED and key.public_key_use in (None, "sig"):
            keys[algorithm, key.key_id] = key.key
    if len(keys) == 1:
        # A set of one key serves tokens that name none.
        (algorithm, _), key = next(iter(keys.items()))
        keys[algorithm, None] = key
    return keys

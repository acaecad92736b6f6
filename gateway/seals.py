"""Opaque texts that come back unchanged or not at all: cursors of lists and of the tail."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from schemas.errors import Invalid

#: Nine bytes are twelve characters. Guessing one takes 2^71 requests on average.
TAG_BYTES = 9


class Seal:
    """Binds bytes to a purpose and a person: who shows a text that was not made so is refused.

    All processes with the same key accept each other's texts.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def close(self, payload: bytes, *bound_to: str) -> str:
        """The payload as text for URLs."""
        return self.closing(*bound_to)(payload)

    def closing(self, *bound_to: str) -> Callable[[bytes], str]:
        """`close` for many payloads with the same bounds."""
        begun = self._begun(bound_to)

        def close(payload: bytes) -> str:
            state = begun.copy()
            state.update(payload)
            return urlsafe_b64encode(state.digest() + payload).rstrip(b"=").decode()

        return close

    def open(self, text: str, *bound_to: str) -> bytes:
        """What `close` was given; raises Invalid if the text is not one of ours for this person."""
        try:
            sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            raise Invalid("is not a cursor of this gateway") from None
        tag, payload = sealed[:TAG_BYTES], sealed[TAG_BYTES:]
        # Decoding is lenient about stray characters and bits; one payload has one text.
        state = self._begun(bound_to)
        state.update(payload)
        if not hmac.compare_digest(tag, state.digest()) or text != self.close(payload, *bound_to):
            raise Invalid("is not a cursor of this gateway, or not one of yours, or of another log")
        return payload

    def _begun(self, bound_to: tuple[str, ...]) -> Any:
        """The hash of what comes before the payload."""
        state = blake2b(key=self._key, digest_size=TAG_BYTES)
        for part in bound_to:
            encoded = part.encode("utf-8", "surrogatepass")
            state.update(len(encoded).to_bytes(4, "big") + encoded)
        return state

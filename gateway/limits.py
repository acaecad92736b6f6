"""How often one person may ask: an exact sliding window, kept in the process."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

#: Persons remembered at once. Who falls out begins anew, which needs that many others within a
#: window.
PERSONS_MAX = 50_000

WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class Allowance:
    """What a request may do and what the caller is told about it."""

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: int
    """Until one more request is allowed than now (0 remaining: until one is)."""

    @property
    def headers(self) -> dict[str, str]:
        """The fields of draft-ietf-httpapi-ratelimit-headers."""
        fields = {
            "RateLimit-Policy": f'"person";q={self.limit};w={WINDOW_SECONDS:.0f}',
            "RateLimit": f'"person";r={self.remaining};t={self.reset_seconds}',
        }
        if not self.allowed:
            fields["Retry-After"] = str(self.reset_seconds)
        return fields


class RateLimit:
    """At most ``limit`` requests of a person in any 60 seconds; refused ones do not count."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, person: str) -> Allowance:
        """Count one request of this person, if it is allowed."""
        now = self._clock()
        times = self._seen.get(person)
        if times is None:
            times = self._seen[person] = deque()
            if len(self._seen) > PERSONS_MAX:
                self._seen.popitem(last=False)
        self._seen.move_to_end(person)
        while times and times[0] <= now - WINDOW_SECONDS:
            times.popleft()
        allowed = len(times) < self._limit
        if allowed:
            times.append(now)
        reset = math.ceil(times[0] + WINDOW_SECONDS - now) if times else 0
        return Allowance(allowed, self._limit, self._limit - len(times), max(1, reset))

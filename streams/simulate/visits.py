"""Visits to the front-ends: the sessions and steps that the funnels are made of."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from streams.simulate.engine import Cause, Engine

SOURCES = {"web": "/journeys/web", "ios": "/journeys/ios", "android": "/journeys/android"}


@dataclass(slots=True)
class Visit:
    """One session; `user` is None until the visitor is known."""

    session: str
    platform: str
    user: str | None


class Visits:
    """Opens sessions and says their steps."""

    def __init__(self, engine: Engine, rng: Random) -> None:
        self._engine = engine
        self._rng = rng

    def begin(self, platform: str, user: str | None) -> Visit:
        """A new session; nothing is said before its first step."""
        return Visit(f"sess_{self._rng.getrandbits(64):016x}", platform, user)

    def step(
        self,
        visit: Visit,
        action: str,
        page: str,
        feature: str | None = None,
        variant: str | None = None,
        **properties: Any,
    ) -> Cause:
        """One step now. `variant` is that of the one experiment there is, on the sign-up page."""
        data: dict[str, Any] = {
            "session": visit.session,
            "action": action,
            "page": page,
            "platform": visit.platform,
        }
        if feature is not None:
            data["feature"] = feature
        if variant is not None:
            data["experiment"] = "signup-page"
            data["variant"] = variant
        if properties:
            data["properties"] = properties
        return self._engine.say(
            "journey.step.recorded.v1",
            SOURCES[visit.platform],
            data,
            user=visit.user,
            subject=visit.session,
        )

"""What people do in the front-ends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.events.fields import Data, Free, Id, Text

Platform = Literal["web", "ios", "android", "bfc", "vyomo", "globfam"]


class StepRecorded(Data):
    """One step of a session. A session is named when one of its steps carries a userid."""

    session: Id
    action: Id
    page: Text | None = None
    platform: Platform
    feature: Text | None = None
    experiment: Text | None = None
    variant: Text | None = None
    properties: Free = Field(default_factory=dict)

"""Events of any other system."""

from __future__ import annotations

from schemas.events.fields import Data, Free, Id


class EventReceived(Data):
    """Something that `system` calls `name`; what it says about it is in `payload`."""

    system: Id
    name: Id
    payload: Free

"""The toy projection of the engine's tests, deriving into a topic that only the relay writes."""

from __future__ import annotations

from collections.abc import Iterable

from projections.tables import Want
from schemas.envelope import Draft, Event, derived_id
from tests.totals import Totals


class Alerting(Totals):
    """Balances, and an alert for each large posting, which notifications fold in their turn."""

    def derived(self, event: Event) -> Draft:
        data = {
            "action": derived_id("totals", 1, event, "action"),
            "execution": derived_id("totals", 1, event, "execution"),
            "rule": "large",
            "type": "notify",
            "message": "A large amount",
        }
        return Draft(
            type="action.requested.v1",
            source="/tests/totals",
            id=derived_id("totals", 1, event),
            data=data,
            time=event.time,
            user_id=event.user_id,
            causation_id=event.id,
        )


class HungryAlerting(Alerting):
    """The same without saying in advance what it will read."""

    def wants(self, event: Event) -> Iterable[Want]:
        return []

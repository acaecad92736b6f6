"""The HTTP API, by what it is about."""

from __future__ import annotations

from gateway.health import Health
from gateway.metrics import Metrics
from gateway.operations import Operation
from gateway.routes import analytics, events, meta, notifications, rules, sync, wealth


def all_operations(metrics: Metrics) -> tuple[Operation, ...]:
    """Every operation that there is, counting into these metrics."""
    health = Health()
    api = (
        *events.operations(metrics),
        *sync.operations(health),
        *wealth.OPERATIONS,
        *notifications.OPERATIONS,
        *rules.OPERATIONS,
        *analytics.OPERATIONS,
    )
    return (*api, *meta.operations(metrics, health, api))

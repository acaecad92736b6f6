"""Every projection that folds rows, once."""

from __future__ import annotations

from projections.funnels.projection import FunnelDefinitions
from projections.net_worth.projection import NetWorth
from projections.notifications.projection import Notifications
from projections.projection import Projection
from projections.rules.projection import Rules


def row_projections() -> tuple[Projection, ...]:
    return (NetWorth(), Notifications(), Rules(), FunnelDefinitions())

"""What a notification's priority is where the person's rules don't say, by configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from projections.preferences.versions import PRIORITIES

#: Kind of what happened -> priority (contract, the four projections).
DEFAULT_PRIORITIES: Mapping[str, str] = MappingProxyType(
    {
        "transfer_completed": "low",
        "transfer_failed": "high",
        "transaction": "low",
        "large_debit": "high",
        "trade_executed": "medium",
        "order_rejected": "high",
        "position_differs": "high",
        "kyc_rejected": "critical",
        "kyc_approved": "medium",
        "kyc_submitted": "low",
        "kyc_updated": "low",
        "account_opened": "medium",
        "account_closed": "medium",
        "account_updated": "low",
        "alert": "medium",
    }
)


@dataclass(frozen=True)
class NotificationSettings:
    """Priorities that differ from the defaults, by kind.

    ``alert`` counts where a rule's notify names no priority. A change takes effect with the next
    rebuild for what is folded already.

    Raises:
        ValueError: an unknown kind or priority; the message lists all that is wrong.
    """

    priorities: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = [
            f"{kind!r} is not one of {', '.join(DEFAULT_PRIORITIES)}"
            for kind in self.priorities
            if kind not in DEFAULT_PRIORITIES
        ]
        wrong += [
            f"{kind}: {priority!r} is not one of {', '.join(PRIORITIES)}"
            for kind, priority in self.priorities.items()
            if priority not in PRIORITIES
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        object.__setattr__(
            self, "priorities", MappingProxyType({**DEFAULT_PRIORITIES, **self.priorities})
        )

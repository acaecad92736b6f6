"""Title, message and links of a notification that has gathered several events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from projections.amounts import shown_together
from projections.notifications.tables import Link, Part
from projections.preferences.clock import Window

_NOUNS: Mapping[str, tuple[str, str]] = {
    "transfer_completed": ("transfer completed", "transfers completed"),
    "transfer_failed": ("transfer failed", "transfers failed"),
    "transaction": ("transaction", "transactions"),
    "large_debit": ("large debit", "large debits"),
    "trade_executed": ("trade executed", "trades executed"),
    "order_rejected": ("order rejected", "orders rejected"),
    "position_differs": ("reported position differs", "reported positions differ"),
    "kyc_rejected": ("identity check rejected", "identity checks rejected"),
    "kyc_approved": ("identity check approved", "identity checks approved"),
    "kyc_submitted": ("identity check submitted", "identity checks submitted"),
    "kyc_updated": ("identity check updated", "identity checks updated"),
    "account_opened": ("account opened", "accounts opened"),
    "account_closed": ("account closed", "accounts closed"),
    "account_updated": ("account update", "account updates"),
    "alert": ("alert", "alerts"),
}

_SUBJECTS: Mapping[str, str] = {
    "transfer": "transfers",
    "transaction": "transactions",
    "trade": "trades",
    "position": "positions",
    "kyc": "identity checks",
    "account": "accounts",
    "alert": "alerts",
    "system": "system",
}

_PAGES: Mapping[str, Link] = {
    "transfer": Link("View transfers", "/transfers"),
    "transaction": Link("View transactions", "/transactions"),
    "trade": Link("View trades", "/trades"),
    "position": Link("View portfolio", "/portfolio"),
    "kyc": Link("View identity check", "/kyc"),
    "account": Link("View accounts", "/accounts"),
    "alert": Link("View rules", "/auto-actions/rules"),
    "system": Link("View notifications", "/notifications"),
}

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def title_of(parts: Sequence[Part]) -> str:
    """3 transfers completed."""
    return ", ".join(_counted(part) for part in parts)


def message_of(parts: Sequence[Part], newest: str) -> str:
    """3 transfers completed (₹45,000.00 total); of alerts also what the newest one says."""
    phrases = [
        _counted(part) + (f" ({shown_together(part.totals)} total)" if part.totals else "")
        for part in parts
    ]
    message = ", ".join(phrases)
    return f"{message}, the latest: {newest}" if parts[-1].kind == "alert" else message


def digest_title(category: str, gathering: str, window: Window, zone: ZoneInfo) -> str:
    """Your transactions of 12 February 2026, 14:00 to 15:00 (without the hours if daily)."""
    start, end = window.start.astimezone(zone), window.end.astimezone(zone)
    title = f"Your {_SUBJECTS[category]} of {_day(start)}"
    return f"{title}, {start:%H:%M} to {end:%H:%M}" if gathering == "hourly" else title


def page_of(category: str) -> list[Link]:
    """Where one sees all that a notification has gathered."""
    return [_PAGES[category]]


def _counted(part: Part) -> str:
    one, many = _NOUNS[part.kind]
    return f"{part.count} {one if part.count == 1 else many}"


def _day(local: datetime) -> str:
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year}"

"""The notifications projection: what each event says to its person, gathered as they prefer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from projections.notifications.gathering import IMMEDIATE, days_of, gather, manner_of, slots_of
from projections.notifications.holdings import apply_split, apply_trade, held_otherwise
from projections.notifications.notices import (
    NOTICE_TYPES,
    Notice,
    category_of,
    notice_of,
    position_differs,
    priority_of,
)
from projections.notifications.raising import hand_over, raise_or_hold, wanted_to_hand_over
from projections.notifications.reading import read_all, read_one
from projections.notifications.settings import NotificationSettings
from projections.notifications.tables import (
    DELIVERIES,
    HOLDINGS,
    NOTIFICATIONS,
    PREFERENCES,
    TABLES,
)
from projections.preferences.versions import preferences_of, version_of
from projections.rows import Rows
from projections.tables import Table, Want
from schemas.envelope import Event

SOURCES = ("bfc.ledger", "bfc.transfers", "bfc.kyc", "vyomo.orders", "vyomo.ledger", "actions")

_TRADE, _SPLIT = "vyomo.trade.executed", "vyomo.split.applied"
_REPORTED = "vyomo.position.reported"
_HOLDING_TYPES = frozenset({_TRADE, _SPLIT, _REPORTED})


class Notifications:
    """Folds source events, rules' alerts and people's commands into notifications."""

    name = "notifications"
    version = 1
    topics = ("app.commands", *SOURCES)
    tables: tuple[Table[Any], ...] = TABLES
    follows_commands = True

    def __init__(self, settings: NotificationSettings | None = None) -> None:
        self._settings = settings or NotificationSettings()
        self._commands: dict[str, Callable[[Rows, Event], None]] = {
            "app.preferences.changed": _change_preferences,
            "app.notification.read": read_one,
            "app.notifications.read": lambda rows, event: read_all(rows, event, SOURCES),
            "app.timer.fired": self._timer_fired,
        }
        self.types = NOTICE_TYPES | _HOLDING_TYPES | frozenset(self._commands)

    def wants(self, event: Event) -> Iterable[Want]:
        if event.type not in self._commands:
            return _wanted_first(event)
        if event.type == "app.timer.fired" and event.data.projection == self.name:
            return wanted_to_hand_over(event)
        return ()

    def foresee(self, rows: Rows, events: Sequence[Event]) -> Iterator[Want]:
        for event in events:
            if event.type not in self._commands:
                category = category_of(event)
                if category is not None:
                    yield from _wanted_to_gather(rows, event, category)

    def fold(self, rows: Rows, event: Event) -> None:
        command = self._commands.get(event.type)
        if command is not None:
            command(rows, event)
        else:
            self._raise(rows, event)

    def _raise(self, rows: Rows, event: Event) -> None:
        """Notice, priority, manner, notification: the way of every source event."""
        preferences = preferences_of(rows.find(PREFERENCES, event.user_id), event)
        if event.type in _HOLDING_TYPES:
            notice = _of_holding(rows, event) or notice_of(event, preferences)
        else:
            notice = notice_of(event, preferences)
        if notice is None:
            return
        priority = priority_of(notice, self._settings)
        manner = manner_of(notice.category, priority, event.time, preferences)
        if manner is None:
            return
        grown = gather(rows, event, notice, priority, manner, preferences)
        raise_or_hold(rows, grown, event, self.name, self.version)

    def _timer_fired(self, rows: Rows, event: Event) -> None:
        if event.data.projection == self.name:
            hand_over(rows, event)


def _of_holding(rows: Rows, event: Event) -> Notice | None:
    if event.type == _TRADE:
        apply_trade(rows, event)
    elif event.type == _SPLIT:
        apply_split(rows, event)
    else:
        ours = held_otherwise(rows, event)
        if ours is not None:
            return position_differs(event, ours)
    return None


def _change_preferences(rows: Rows, event: Event) -> None:
    try:
        version = version_of(event)
    except KeyError:
        rows.refuse("data.preferences.timezone", "must be an IANA time zone")
    rows.put(PREFERENCES, version)


def _wanted_first(event: Event) -> tuple[Want, ...]:
    preferences = Want(PREFERENCES, (event.user_id,))
    if event.type not in _HOLDING_TYPES:
        return (preferences,)
    return preferences, Want(HOLDINGS, (event.user_id, event.data.account, event.data.symbol))


def _wanted_to_gather(rows: Rows, event: Event, category: str) -> Iterator[Want]:
    """The notifications that a notice may join, and what of them may be handed over already.

    Most people have neither digests nor quiet hours, and most notices nothing to join: half of
    these questions need not be asked once the preferences are known.
    """
    user = event.user_id
    preferences = preferences_of(rows.find(PREFERENCES, user), event)
    choice = preferences.category(category)
    if not choice.enabled:
        return
    at_once = choice.delivery == IMMEDIATE
    for slot in slots_of(event) if at_once else days_of(event):
        yield Want(NOTIFICATIONS, (user, slot))
    if not at_once or preferences.quiet_hours is not None:
        for days in days_of(event):
            yield Want(DELIVERIES, (user, days))

"""Whether preferences that somebody sends are valid, said field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from projections.preferences.versions import CATEGORIES, DEFAULT_ZONE, zone_of
from schemas.careful import data_errors
from schemas.envelope import wire
from schemas.errors import FieldError, InvalidEvent
from schemas.numbers import CURRENCIES
from schemas.registry import NEWEST

CHANNELS = ("inApp", "email", "push", "sms", "webhook")

_MEMBERS = ("timezone", "baseCurrency", "quietHours", "largeDebit", "categories")
_QUIET = ("from", "to")
_CHOICES = ("enabled", "delivery", "minimumPriority", "channels")
_INSIDE = "data.preferences."


def checked(body: object) -> dict[str, Any]:
    """The body of a PUT whole, as `app.preferences.changed` carries it and as it will be shown.

    Events are read tolerantly, but somebody who sends preferences is told of a name that has no
    effect.

    Raises:
        InvalidEvent: everything that is wrong; paths are dotted camelCase (`quietHours.from`).
    """
    if not isinstance(body, Mapping):
        raise InvalidEvent([FieldError("", "must be a JSON object")])
    command = NEWEST["app.preferences.changed"]
    wrong = [
        FieldError(error.path.removeprefix(_INSIDE), error.message)
        for error in data_errors(command, {"preferences": body})
    ]
    wrong += _unknown_names(body)
    wrong += _unknown_values(body)
    if wrong:
        raise InvalidEvent(wrong)
    said = command.compiled.convert({"preferences": body}).preferences
    return {
        "timezone": said.timezone or DEFAULT_ZONE,
        "baseCurrency": said.base_currency,
        "quietHours": wire(said.quiet_hours),
        "largeDebit": wire(said.large_debit),
        "categories": wire(said.categories),
    }


def _unknown_names(body: Mapping[str, Any]) -> Iterator[FieldError]:
    yield from _strangers(body, _MEMBERS, "")
    yield from _strangers(body.get("quietHours"), _QUIET, "quietHours.")
    categories = body.get("categories")
    yield from _strangers(categories, CATEGORIES, "categories.")
    if isinstance(categories, Mapping):
        for name in CATEGORIES:
            yield from _strangers(categories.get(name), _CHOICES, f"categories.{name}.")


def _strangers(given: object, known: tuple[str, ...], path: str) -> Iterator[FieldError]:
    if isinstance(given, Mapping):
        for name in given:
            if name not in known:
                yield FieldError(f"{path}{name}", f"is not one of {', '.join(known)}")


def _unknown_values(body: Mapping[str, Any]) -> Iterator[FieldError]:
    zone = body.get("timezone")
    if isinstance(zone, str) and not _exists(zone):
        yield FieldError("timezone", "must be an IANA time zone such as Asia/Kolkata")
    quiet = body.get("quietHours")
    if isinstance(quiet, Mapping) and quiet.get("from") == quiet.get("to") is not None:
        yield FieldError(
            "quietHours.to", "must differ from the beginning; null means no quiet hours"
        )
    thresholds = body.get("largeDebit")
    if isinstance(thresholds, Mapping):
        for currency in thresholds:
            if currency not in CURRENCIES:
                yield FieldError(f"largeDebit.{currency}", "must be an active ISO 4217 code")
    yield from _unknown_channels(body.get("categories"))


def _unknown_channels(categories: object) -> Iterator[FieldError]:
    if not isinstance(categories, Mapping):
        return
    for name in CATEGORIES:
        choice = categories.get(name)
        channels = choice.get("channels") if isinstance(choice, Mapping) else None
        if not isinstance(channels, list):
            continue
        path = f"categories.{name}.channels"
        if not channels:
            yield FieldError(path, "must name at least one; use enabled to turn a category off")
        for number, channel in enumerate(channels):
            if isinstance(channel, str) and channel not in CHANNELS:
                yield FieldError(f"{path}.{number}", f"is not one of {', '.join(CHANNELS)}")


def _exists(zone: str) -> bool:
    try:
        zone_of(zone)
    except KeyError:
        return False
    return True

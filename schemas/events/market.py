"""Market data: prices and fixings. They name no person."""

from __future__ import annotations

from schemas.events.fields import Currency, Data, Id, Price, Rate, Text


class PriceTicked(Data):
    """The price of one unit of a symbol at the event's time."""

    symbol: Id
    price: Price
    currency: Currency
    venue: Text | None = None


class FxFixed(Data):
    """One unit of `base` is worth `rate` units of `quote`."""

    base: Currency
    quote: Currency
    rate: Rate
    source: Text

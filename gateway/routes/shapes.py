"""Shapes that several routes share."""

from __future__ import annotations

from gateway.operations import Shape


class MoneyShape(Shape):
    """An amount with its currency."""

    amount: str
    currency: str

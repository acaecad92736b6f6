"""Errors of the floor `schemas`, named by who must act: always the one who sent the thing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class FieldError(NamedTuple):
    """One thing that is wrong: `path` is dotted camelCase (`data.amount`), empty for the whole."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class Invalid(ValueError):
    """A text or value from outside does not have the form it must have."""


class InvalidEvent(Invalid):
    """An event is not valid; `errors` lists everything that is wrong with it."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__(reason(self.errors))


def reason(errors: Iterable[FieldError]) -> str:
    """The errors in one line, as dead letters carry them: `path: message; path: message`."""
    return "; ".join(str(error) for error in errors)

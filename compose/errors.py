"""Errors for the person at the terminal."""

from __future__ import annotations


class CommandError(Exception):
    """A command cannot do what was asked; `streams` shows the message alone, without a traceback.

    The message says what is wrong and what helps.
    """

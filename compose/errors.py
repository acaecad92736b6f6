"""Errors for the person at the terminal."""

from __future__ import annotations

from compose.exit_codes import ExitCode


class CommandError(Exception):
    """A command cannot do what was asked; `streams` shows the message alone, without a traceback.

    The message says what is wrong and what helps.

    Args:
        message: for the person who gave the command.
        code: the status that the command ends with.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.BROKEN) -> None:
        super().__init__(message)
        self.code = code

"""With which status a command ends, so that whatever supervises it knows whether to start it again.

The table in `compose/README.md` says the same to operators; a test compares the two.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Numbers that never change their meaning."""

    #: It did what it was told, or was told to end.
    OK = 0
    #: Something is broken that the message names; starting it again may help once that is mended.
    BROKEN = 1
    #: A setting or an option is missing or wrong; starting it again does not help.
    SETTINGS = 2
    #: The log is another one, was cut, or ends before a checkpoint; somebody must decide.
    OTHER_LOG = 3
    #: The code of a projection has another version than its tables: `streams rebuild NAME`.
    OTHER_VERSION = 4
    #: It stood still and could not heal itself: start it again. (EX_TEMPFAIL of sysexits.h.)
    STALLED = 75

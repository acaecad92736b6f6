"""Ports on 127.0.0.1: the ones asked for, else those of last time, else any free ones."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from compose.local.errors import port_taken

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Proxied:
    """A second way to Apache Kafka, through something of the caller's that stands before it.

    A client of Kafka goes where the broker tells it to go, so the broker must name that address.
    """

    #: Where the broker listens for those that come through.
    listener: int
    #: The port of 127.0.0.1 that the broker tells them.
    advertised: int


def choose_ports(wanted: Mapping[str, int], last: Mapping[str, int]) -> dict[str, int]:
    """A port for every name in `wanted`; 0 stands for any.

    The ports of `last` are taken again where they are free, so that addresses in people's
    shells survive a restart. Raises PortTaken for a number asked for that is in use.
    """
    held: list[socket.socket] = []
    chosen: dict[str, int] = {}
    try:
        for name, port in wanted.items():
            bound = _bind(port)
            if bound is None:
                raise port_taken(name, port)
            if port == 0 and (again := _bind(last.get(name, 0))) is not None:
                held.append(bound)
                bound = again
            # Held until all are chosen, so that no two names get the same one.
            held.append(bound)
            chosen[name] = bound.getsockname()[1]
    finally:
        for each in held:
            each.close()
    return chosen


def _bind(port: int) -> socket.socket | None:
    """A socket bound to the port, or None when something else listens there."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Connections of a server that just ended (TIME_WAIT) are no reason to call a port taken.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        return None
    return bound


def accepts(port: int) -> bool:
    """Whether something on 127.0.0.1 accepts connections at the port."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True

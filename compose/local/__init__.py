"""The local stack: broker, PostgreSQL and ClickHouse as child processes, from wheels alone."""

from compose.local.ports import Proxied
from compose.local.stack import Ports, Stack, local_stack

__all__ = ["Ports", "Proxied", "Stack", "local_stack"]

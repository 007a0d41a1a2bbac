"""One port for several web processes, each with a socket of its own, among which the kernel deals out connections.

With one socket for all, whoever wakes first takes all that wait: of 128 connections one of two processes had 82 to 103,
and was busy while the other one waited.
"""

import socket
import sys
from typing import Any, Final, NamedTuple

IS_DEALT_OUT: Final = sys.platform == "linux"
"""Elsewhere the option exists and gives everything to one of them."""


class OwnSocket(NamedTuple):
    """Stands for a socket on its way to a web process, and is one there: bound anew, to the same port."""

    family: int
    address: Any

    def __reduce__(self) -> tuple[Any, ...]:
        """Become a socket where it is read."""
        return bind, (self.family, self.address)


def bind(family: int, address: Any) -> socket.socket:
    """Return a socket that shares its port with others of the same user; it gets nothing before it listens.

    Raises:
        OSError: the port is somebody else's.
    """
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(address)
    return bound

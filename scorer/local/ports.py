"""Free TCP ports of 127.0.0.1.

Guarantees ports below the range from which systems take the source ports of outgoing connections: a client that keeps
dialling a stopped server's port can otherwise be given that very port, connect to itself, and keep the server out.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Collection

FIRST, COUNT = 20_000, 12_000  # Linux gives out source ports from 32,768 on, macOS from 49,152

# Processes start at different places, and one process never gives the same port twice in a row, bound or not.
_steps = itertools.count(os.getpid() * 37)


def free_ports(count: int, *, apart_from: Collection[int] = ()) -> tuple[int, ...]:
    """Returns `count` different ports that nothing listens on.

    Args:
        apart_from: ports that are meant for something that does not listen yet. A process that was given its ports
            by another one has to name them: both may count from the same place.

    Raises:
        OSError: there are not so many.
    """
    candidates = (FIRST + step % COUNT for step in itertools.islice(_steps, COUNT))
    wanted = (port for port in candidates if port not in apart_from and is_free(port))
    found = tuple(itertools.islice(wanted, count))
    if len(found) < count:
        raise OSError(f"fewer than {count} free ports between {FIRST} and {FIRST + COUNT}")
    return found


def is_free(port: int) -> bool:
    """Says whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As Java does on these systems: connections of an earlier server that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

"""How many connections a process can hold: each is an open file, and those have a limit of their own."""

from __future__ import annotations

import resource

FILES_BESIDE = 200
"""Open files besides connections: Kafka's brokers, the store, the tokens file while it is read, the log."""


def room_for(connections: int) -> int:
    """How many of these can be held at once. The limit of open files is raised as far as that needs, if it may be.

    Without files left the kernel's queue takes what comes, nobody answers, and Kafka and the store cannot be opened
    again either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + FILES_BESIDE
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(1, most - FILES_BESIDE)

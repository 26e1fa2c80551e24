"""Calls of a client that may never return, made in a thread of their own.

librdkafka does not always keep the time that it was given: after a connection was cut in the middle,
send_offsets_to_transaction with a time-out of one second was seen not to return at all. Such a call costs its client,
never the process. While it is waited for, signals are heard.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread

from confluent_kafka import Producer

from scorer.edges.machine import give_memory_back

SLICE_S = 0.2
LET_GO_S = 1.0
"""Until whoever made the last call of a client holds it no more."""

Work = Callable[[], object]


class Calls:
    """Makes one call at a time. Driven by one thread."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[Work | None] | None = None
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def make(self, work: Work, wait_s_max: float) -> None:
        """Makes a call and waits for its end; raises what it raises.

        Raises:
            TimeoutError: it has not returned. It is left to itself, with its thread; the next call has a new one.
        """
        if self._asked is None:
            self._asked, self._ended = SimpleQueue(), SimpleQueue()
            Thread(target=_serve, args=(self._asked, self._ended), name="calls", daemon=True).start()
        self._asked.put(work)
        for _ in range(math.ceil(wait_s_max / SLICE_S)):
            # Slices, for a process that was stopped meanwhile: its call has had no time either.
            with suppress(Empty):
                error = self._ended.get(timeout=SLICE_S)
                break
        else:
            self.close()
            raise TimeoutError(f"a call of the client has not returned in {wait_s_max:.0f} s")
        if error is not None:
            try:
                raise error
            finally:
                del error  # it holds this frame, which holds it

    def let_go(self, client: Producer) -> None:
        """Ends a client where nobody waits for it: its end takes as long as a connection hangs.

        A call that is stuck in it keeps it, with its threads and sockets, until it returns: settings.IDLE_MS.
        """
        Thread(target=_bury, args=([client],), name="burial", daemon=True).start()

    def close(self) -> None:
        """Lets the thread end, once it can."""
        if self._asked is not None:
            self._asked.put(None)
            self._asked = None


def _serve(asked: SimpleQueue[Work | None], ended: SimpleQueue[BaseException | None]) -> None:
    while (work := asked.get()) is not None:
        try:
            work()
        except BaseException as error:
            ended.put(error)
        else:
            ended.put(None)
        del work  # it holds the client


def _bury(held: list[Producer]) -> None:
    time.sleep(LET_GO_S)
    held.clear()
    give_memory_back()

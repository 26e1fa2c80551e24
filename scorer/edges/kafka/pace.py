"""How long a batch waits for company, by what the one before it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

TIMES = 3.0
APART_S_MAX = 0.002


class Pace:
    """Keeps small batches apart, so that under load they grow, whatever the client fetches.

    A small batch costs by itself, not by its records: 0.4 ms for two leads, 0.6 for eight. Where records come faster
    than that, a batch begins no sooner than `TIMES` what the last one took after the last one began, so a third of the
    process's time goes into batches at most, and the neighbours on its cores are left in peace. With the eager profile
    6,000 leads/s cost 88 us of CPU an event in place of 103, with a 99th percentile of 24 ms in place of 56 on a busy
    machine (medians of three, one run, 2026-11-29; more in docs/why.md); 1,000/s are as without.

    A record that comes alone, as at low rates, waits for nobody; nor does a batch after one that was full, or that took
    longer than `APART_S_MAX`; nor any where the broker gathers records already (`fetch.min.bytes`): to wait for both
    cost the paced profile half a millisecond.

    Args:
        properties: the consumer's.
        clock_s, sleep: time.monotonic and time.sleep but for tests.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        at_once = str(properties.get("fetch.min.bytes", 1)) == "1"  # not parsed: librdkafka is the judge of bad ones
        self._apart_s_max = APART_S_MAX if at_once else 0.0
        self._clock_s, self._sleep = clock_s, sleep
        self._began_s = self._handed_s = 0.0
        self._due_s = 0.0
        self._crowded = False

    def asked(self) -> None:
        """The next batch is asked for: the one before it is done."""
        took_s = self._clock_s() - self._handed_s
        self._due_s = self._began_s + min(TIMES * took_s, self._apart_s_max) if self._crowded else 0.0

    def begin(self) -> None:
        """Its first record is there: waits until it may begin."""
        left_s = self._due_s - self._clock_s()
        if left_s > 0:
            self._sleep(left_s)
        self._began_s = self._clock_s()

    def handed(self, rows: int, full: bool) -> None:
        """It is handed out, with so many records."""
        self._crowded, self._handed_s = rows > 1 and not full, self._clock_s()

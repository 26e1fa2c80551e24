"""The machine's time."""

from __future__ import annotations

import time


class SystemClock:
    """Implements ports.Clock."""

    def now_ms(self) -> int:
        """See ports.Clock."""
        return time.time_ns() // 1_000_000

    def ticks_ms(self) -> float:
        """See ports.Clock."""
        return time.monotonic() * 1000

    def sleep(self, ms: float) -> None:
        """See ports.Clock."""
        time.sleep(ms / 1000)

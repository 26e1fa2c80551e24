"""The machine's time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


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


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """How long ago something was, for the world outside as well.

    While a machine is suspended, or a virtual one paused, its monotonic clock stands still; the wall clock, once it is
    right again, tells of it.

    Attributes:
        began_s: time.monotonic() then.
        wall_s: time.time() then.
    """

    began_s: float = field(default_factory=time.monotonic)
    wall_s: float = field(default_factory=time.time)

    def passed_s(self) -> float:
        """Seconds since then, by the clock that went further."""
        return max(time.monotonic() - self.began_s, time.time() - self.wall_s)

"""Token buckets: how often somebody may ask."""

from __future__ import annotations

from dataclasses import dataclass, field

NAMES_MAX = 10_000


@dataclass(slots=True)
class Buckets:
    """One bucket per name, each as large as a second's worth. `per_s` of 0 is no limit."""

    per_s: float
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, name: str, now_s: float) -> float:
        """Takes one. Returns 0, or how many seconds later there is one again."""
        if not self.per_s:
            return 0.0
        most = max(1.0, self.per_s)
        left, at_s = self._left.get(name, (most, now_s))
        left = min(most, left + (now_s - at_s) * self.per_s)
        if left < 1:
            self._left[name] = (left, now_s)
            return (1 - left) / self.per_s
        if len(self._left) >= NAMES_MAX:
            self._left.clear()
        self._left[name] = (left - 1, now_s)
        return 0.0

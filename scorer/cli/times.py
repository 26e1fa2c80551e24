"""Times as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from scorer.core.errors import ConfigError

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def time_ms(option: str, text: str, now_ms: int) -> int:
    """Milliseconds since the epoch of a time, in UTC where it says nothing else, or of so long ago.

    Args:
        option: names it in the error.
        text: 30m, 1h, 7d, or ISO 8601.
        now_ms: milliseconds since the epoch.

    Raises:
        ConfigError: it is no time.
    """
    ago = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if ago is not None:
        return now_ms - int(ago[1]) * UNITS_MS[ago[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text} is no time: write 30m, 1h, 7d or 2026-11-23T06:00") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def time_text(ms: int) -> str:
    """A time in UTC, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")

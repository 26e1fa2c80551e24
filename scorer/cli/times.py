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
        ConfigError: it is no time, or before 1970, which Kafka knows no time of.
    """
    ago_ms = _span_ms(text)
    if ago_ms is not None:
        found_ms = now_ms - ago_ms
    else:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise ConfigError(f"{option} {_shown(text)} is no time: write 30m, 1h, 7d or 2026-11-23T06:00") from None
        found_ms = int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
    if found_ms < 0:
        raise ConfigError(f"{option} {text} is before 1970, and no record is")
    return found_ms


def range_ms(since: str | None, until: str | None, now_ms: int) -> tuple[int | None, int | None]:
    """What `--since` and `--until` mean, in milliseconds since the epoch; None for what is not given.

    Raises:
        ConfigError: one is no time, or nothing lies between them.
    """
    since_ms = None if since is None else time_ms("--since", since, now_ms)
    until_ms = None if until is None else time_ms("--until", until, now_ms)
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise ConfigError(f"--since {since} is not before --until {until}")
    return since_ms, until_ms


def span_ms(option: str, text: str) -> int:
    """Milliseconds of a span, as in 30m, 1h, 7d.

    Raises:
        ConfigError: it is none.
    """
    found = _span_ms(text)
    if found is None:
        raise ConfigError(f"{option} {_shown(text)} is no span: write 30m, 1h or 7d")
    return found


def time_text(ms: int) -> str:
    """A time in UTC, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _span_ms(text: str) -> int | None:
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    return None if match is None else int(match[1]) * UNITS_MS[match[2]]


def _shown(text: str) -> str:
    return text or '""'

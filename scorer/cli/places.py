"""Places of records as people write them: PARTITION:OFFSET, alone or in files."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scorer.core.errors import ConfigError

if TYPE_CHECKING:
    from scorer.core.letters import Place


def place_of(text: str) -> Place:
    """Partition and offset.

    Raises:
        ConfigError: it is no place.
    """
    match = re.fullmatch(r"([0-9]{1,10}):([0-9]{1,18})", text)
    if match is None:
        raise ConfigError(f"{text!r} is no position: write PARTITION:OFFSET, as in 2:17")
    return int(match[1]), int(match[2])


def listed(file: str | None) -> list[str]:
    """The first word of each line of a file, - for stdin; empty lines and those that begin with # are passed over."""
    if file is None:
        return []
    from scorer.edges.files import read_text

    lines = (sys.stdin.read() if file == "-" else read_text(Path(file))).splitlines()
    return [words[0] for line in lines if (words := line.split()) and not words[0].startswith("#")]

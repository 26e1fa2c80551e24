"""What somebody probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of a message about an unknown word: `; did you mean X?`, or "" if nothing known is near.

    A prefix that all words share is left out of the comparison, since it would make any two look alike.
    """
    names = [name.removeprefix(prefix) for name in known if name.startswith(prefix)]
    nearest = difflib.get_close_matches(word.removeprefix(prefix), names, n=1, cutoff=0.6)
    return f"; did you mean {prefix}{nearest[0]}?" if nearest else ""

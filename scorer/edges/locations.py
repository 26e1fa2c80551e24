"""Where bundles are: folders, and URLs of folders. Text alone: nothing is opened."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

Location = Path | str
"""A folder; or a URL, which is a text since a path would make one slash of two."""


def as_location(text: str | Path) -> Location:
    """What was written; `file:` URLs are folders."""
    if isinstance(text, Path) or "://" not in text:
        return Path(text)
    parts = urlsplit(text)
    return Path(unquote(parts.path)) if parts.scheme == "file" and parts.netloc in ("", "localhost") else text


def within(place: Location, *names: str) -> Location:
    """A place below another."""
    return place.joinpath(*names) if isinstance(place, Path) else "/".join([place.rstrip("/"), *names])


def absolute(place: Location) -> str:
    """The place as it is found from any folder of this machine."""
    return str(place.absolute()) if isinstance(place, Path) else place

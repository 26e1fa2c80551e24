"""Files of a folder that a URL names, by fsspec: s3://BUCKET/FOLDER, or another scheme whose package is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scorer.core.errors import ConfigError, ScorerError, TransientError, pip_install

CONNECT_S_MAX, READ_S_MAX, ATTEMPTS_MAX = 5, 30, 2
_S3 = {
    "config_kwargs": {
        "connect_timeout": CONNECT_S_MAX,
        "read_timeout": READ_S_MAX,
        "retries": {"max_attempts": ATTEMPTS_MAX},
    }
}
_TO_BE_MENDED = frozenset({"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "InvalidConfigError"})
"""Errors of botocore that waiting does not help."""


def read_remote(url: str, bytes_max: Mapping[str, int]) -> tuple[dict[str, bytes], list[str]]:
    """The files of these names that the folder has, and the names of all that it has.

    Args:
        url: of the folder.
        bytes_max: name to how many bytes the file may have; of one that has more, one more is read.

    Raises:
        ConfigError: there is no such folder, we may not read it, or what reads such URLs is not installed.
        TransientError: whoever keeps it does not answer.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ConfigError(f"{url} is read with fsspec, which is not installed: run {pip_install('s3')}") from error
    try:
        options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
        if url.startswith("s3://"):
            options |= _S3
        files, root = url_to_fs(url, **options)
        there = {str(each["name"]).rpartition("/")[2]: each for each in files.ls(root, detail=True)}
        found = {}
        for name, limit in bytes_max.items():
            if name not in there or there[name]["type"] != "file":
                continue
            found[name] = files.cat_file(f"{root.rstrip('/')}/{name}", end=limit + 1)
    except Exception as error:  # each kind of file system has errors of its own
        raise _meaning(url, error) from error
    return found, sorted(there)


def _meaning(url: str, error: Exception) -> ScorerError:
    text = str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ConfigError(f"there is no bundle at {url}: {text}")
    if isinstance(error, ImportError):
        return ConfigError(f"{url} cannot be read: {text}. For s3: run {pip_install('s3')}")
    if isinstance(error, PermissionError | ValueError) or type(error).__name__ in _TO_BE_MENDED:
        return ConfigError(f"{url} cannot be read: {text}")
    return TransientError(f"{url} cannot be read now: {text}")

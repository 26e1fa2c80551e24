"""Bearer tokens: only their sha256 is kept, in a TOML file that is read again when it changes.

    [[tokens]]
    name = "web"
    sha256 = "…"
    scopes = ["recommendations", "recommendations:all"]
    expires = 2027-01-01T00:00:00Z        # optional

A token is 32 random bytes, so its plain hash is as good as a slow one. Every check hashes once and compares with every
entry in constant time: a token that is wrong, expired or unknown costs the same and gets the same answer.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scorer.core.errors import ConfigError
from scorer.core.ports import Report

ALL = ":all"
"""Behind a kind's name: the scope for the stream of everybody's predictions."""
FILE_BYTES_MAX = 1 << 20
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,100}")
_PREFIX = "scorer_"
_OF_NOTHING = hashlib.sha256().hexdigest()
"""What a script hashes whose variable is empty. Who presents no token at all would be let in by it."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token: whose it is, its hash, what it may read, and until when (ms since the epoch)."""

    name: str
    digest: bytes
    scopes: frozenset[str]
    expires_ms: int | None = None

    def allows(self, scope: str) -> bool:
        """Whether it may read that."""
        return scope in self.scopes


@dataclass(slots=True)
class Authority:
    """Who may read. Without a file, everybody.

    Attributes:
        path: the tokens file, or None.
        scopes: every scope there is; what somebody may read where there is no file.
    """

    path: Path | None
    scopes: frozenset[str]
    report: Report
    _tokens: tuple[Token, ...] = ()
    _in_force: frozenset[Token] = frozenset()
    """The same: every open stream asks some times a second whether its own is still among them."""
    _stamp: tuple[int, int, int] | None = None
    """Of the file as it was read."""
    _trouble: str = ""
    """Why it could not be read the last time; told once."""
    _everybody: Token = field(init=False)

    def __post_init__(self) -> None:
        self._everybody = Token("", b"", self.scopes)
        if self.path is not None:
            self._stamp = _stamp(self.path)
            self._take(self.path)

    def check(self, authorization: bytes | None, now_ms: int) -> Token | None:
        """The token that a header presents, or None. `authorization` is the header's value."""
        if self.path is None:
            return self._everybody
        kind, _, presented = (authorization or b"").partition(b" ")
        digest = hashlib.sha256(presented if kind.lower() == b"bearer" else b"").digest()
        found = None
        for token in self._tokens:
            same = hmac.compare_digest(digest, token.digest)
            if same and (token.expires_ms is None or now_ms < token.expires_ms):
                found = token
        return found

    def still(self, token: Token, now_ms: int) -> bool:
        """Whether a token that was let in is good yet: in the file, as it was, and not expired."""
        if self.path is None:
            return True
        return token in self._in_force and (token.expires_ms is None or now_ms < token.expires_ms)

    def reload(self) -> None:
        """Reads the file again if it has changed, until it can be read. Meanwhile the tokens are as they were."""
        if self.path is None:
            return
        stamp, before, self._trouble = _stamp(self.path), self._trouble, ""
        if stamp == self._stamp:
            return
        try:
            self._take(self.path)
        except ConfigError as error:
            self._trouble = str(error)
            if self._trouble != before:
                self.report("tokens.not_read", {"why": self._trouble})
        else:
            self._stamp = stamp
            self.report("tokens.read", {"tokens": len(self._tokens)})

    def _take(self, path: Path) -> None:
        self._tokens = read_tokens(path)
        self._in_force = frozenset(self._tokens)


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens of a file.

    Raises:
        ConfigError: it cannot be read, or is not of that form.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        document = tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"the tokens file {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the tokens file {path} is no valid TOML: {type(error).__name__}") from error
    entries = document.get("tokens", [])
    if len(content) > FILE_BYTES_MAX or document.keys() - {"tokens"} or not isinstance(entries, list):
        raise ConfigError(f"the tokens file {path} should hold [[tokens]] alone, {FILE_BYTES_MAX} bytes at most")
    tokens = tuple(_token(entry, f"{path}: token {at}") for at, entry in enumerate(entries, 1))
    names = [token.name for token in tokens]
    if len(set(names)) < len(names):
        raise ConfigError(f"the tokens file {path} has two tokens of one name")
    return tokens


def add_token(path: Path, name: str, scopes: Sequence[str], expires: datetime | None) -> str:
    """Makes a token, adds its hash to the file (made if there is none, readable by its owner alone) and returns it.

    Raises:
        ConfigError: the file cannot be read or written, its owner cannot be kept, or it has a token of that name.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a token's name has letters, digits, dots, dashes and underscores, not {name!r}")
    path = path.resolve()  # a link stays one
    token = _PREFIX + secrets.token_urlsafe(32)
    lines = ["[[tokens]]", f"name = {json.dumps(name)}"]
    lines.append(f'sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"')
    lines.append(f"scopes = {json.dumps(list(scopes))}")
    if expires is not None:
        lines.append(f"expires = {expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(path.parent):
            _append(path, name, "\n".join(lines) + "\n")
    except OSError as error:
        raise ConfigError(f"the tokens file {path} cannot be written: {error.strerror}") from error
    return token


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Waits for others who do the same. The folder itself is locked: a file for that would be its first maker's."""
    there = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(there, fcntl.LOCK_EX)
        yield
    finally:
        os.close(there)


def _append(path: Path, name: str, entry: str) -> None:
    before = ""
    if path.exists():
        if any(token.name == name for token in read_tokens(path)):
            raise ConfigError(f"{path} has a token {name} already: take another name, or delete its entry first")
        before = (path.read_text(encoding="utf-8").rstrip("\n") + "\n\n").lstrip("\n")
    _replace(path, before + entry)


def _replace(path: Path, text: str) -> None:
    """Writes a file whole, or leaves it. One that is there keeps mode and owner: its reader need not be who writes."""
    there = path.stat() if path.exists() else None
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # readable by its owner alone
    fresh = Path(name)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            if there is not None:
                _own(file.fileno(), path, there)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _own(file: int, path: Path, like: os.stat_result) -> None:
    try:
        os.fchown(file, like.st_uid, like.st_gid)
    except PermissionError as error:
        raise ConfigError(
            f"the tokens file {path} belongs to user {like.st_uid}, group {like.st_gid}, and would not keep its owner: "
            "run this as that user, or as root"
        ) from error
    os.fchmod(file, stat.S_IMODE(like.st_mode))


def _token(entry: Any, where: str) -> Token:
    known = {"name": str, "sha256": str, "scopes": list, "expires": datetime}
    if not isinstance(entry, dict) or not {"name", "sha256", "scopes"} <= entry.keys() <= known.keys():
        raise ConfigError(f"{where} should have name, sha256, scopes and perhaps expires")
    if not all(isinstance(value, known[key]) for key, value in entry.items()):
        raise ConfigError(f"{where}: name and sha256 are texts, scopes a list of texts, expires a date with time")
    if not re.fullmatch(r"[0-9a-f]{64}", entry["sha256"]) or not all(isinstance(each, str) for each in entry["scopes"]):
        raise ConfigError(f"{where}: sha256 has 64 hexadecimal digits, scopes are texts")
    if entry["sha256"] == _OF_NOTHING:
        raise ConfigError(f"{where}: this is the sha256 of nothing; take that of a token, as scorer gateway token does")
    expires = entry.get("expires")
    if expires is not None and expires.tzinfo is None:
        raise ConfigError(f"{where}: expires needs its time zone, as in 2027-01-01T00:00:00Z")
    ends_ms = None if expires is None else int(expires.timestamp() * 1000)
    return Token(entry["name"], bytes.fromhex(entry["sha256"]), frozenset(entry["scopes"]), ends_ms)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

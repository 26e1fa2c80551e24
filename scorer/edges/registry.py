"""A schema registry over HTTP, Confluent-compatible: Confluent's own, Apicurio under /apis/ccompat/v7, and others.

The one place that uses confluent_kafka.schema_registry. No call retries inside, so that the caller's loop decides how
long to wait. `timeout_ms` bounds connecting and each wait for bytes (the client has no bound for a whole request, and
none for looking up a host's name). No credentials appear in any message: they are taken out of the URL first. Proxies
named in the environment are used, as by any HTTP client (NO_PROXY).

What an answer means:

    404 with a registry's error code             absent: None, or no versions
    no answer, time-out, 408, 429, 5xx, or an    TransientError: an outage, never a verdict on a record
      answer that is not a registry's
    409, 422, a schema that is not self-         ContractError, with the registry's reason
      contained Avro
    401, 403, a bad certificate                  RefusedError
    other 4xx                                    ConfigError

A password that can be read again is read again when the registry refuses it, so a rotated one needs no restart.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from scorer.core.errors import ConfigError, ContractError, RefusedError, ScorerError, TransientError

ID_MAX = 2**31 - 1
"""Registries number schemas with Java's int. Four bytes of garbage may read higher: no need to ask."""

_NO_SUBJECT, _NO_VERSION, _NO_SCHEMA = 40401, 40402, 40403
_ABSENT = frozenset({_NO_SUBJECT, _NO_VERSION, _NO_SCHEMA})
_REASON_CHARACTERS_MAX = 500

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """How a registry is reached.

    Attributes:
        url: http or https; several, separated by commas, are tried in turn. May hold user:password@.
        user, password: basic authentication; they count before those in the URL. A function reads the password anew.
        ca_file: PEM file that https is verified with; "" takes the public authorities.
        timeout_ms: for connecting, and for each wait for bytes.
    """

    url: str
    user: str = ""
    password: str | Callable[[], str] = field(default="", repr=False)
    ca_file: str = ""
    timeout_ms: int = 3000


class HttpRegistry:
    """Implements ports.SchemaRegistry and ports.SubjectRegistry. Close it when done.

    Raises:
        ConfigError: the URL or the CA file is no good.
    """

    def __init__(self, access: RegistryAccess) -> None:
        urls, self._user, self._password = _split(access)
        self.place = ", ".join(urls)
        settings: dict[str, Any] = {"url": ",".join(urls), "timeout": access.timeout_ms / 1000, "max.retries": 0}
        if access.ca_file:
            if not Path(access.ca_file).is_file():
                raise ConfigError(f"registry.ca = {access.ca_file!r}: there is no such file")
            settings["ssl.ca.location"] = access.ca_file
        self._settings, self._ca_file = settings, access.ca_file
        self._known = self._read()
        self._client = self._connected()

    def text(self, schema_id: int) -> str | None:
        """See ports.SchemaRegistry.

        Raises:
            TransientError: the registry does not answer.
            ContractError: the schema is not Avro, or refers to schemas outside itself.
            RefusedError: the registry refuses the credentials, or is not trusted.
        """
        if schema_id > ID_MAX:
            return None
        schema = self._ask(lambda client: client.get_schema(schema_id))
        return None if schema is None else self._checked(schema, f"schema {schema_id}")

    def versions(self, subject: str) -> list[tuple[int, str]]:
        """See ports.SubjectRegistry.

        Raises:
            TransientError, ContractError, RefusedError: as for `text`.
        """
        listed: Any = self._ask(lambda client: client.get_versions(subject))
        if listed is None:
            return []
        if not isinstance(listed, list) or not all(map(_is_number, listed)):
            raise TransientError(f"the registry at {self.place} gives no list of the versions of {subject}")
        found: list[tuple[int, str]] = []
        for version in sorted(listed):
            one = self._ask(partial(_version, subject, version))
            if one is not None:  # None: deleted since the list was made
                what = f"{subject} version {version}"
                text = self._checked(one.schema, what)
                found.append((self._id(one.schema_id, what), text))
        return found

    def register(self, subject: str, text: str, compatibility: str) -> int:
        """See ports.SubjectRegistry. A schema that is already there, however it is spaced, keeps its id.

        Raises:
            ContractError: the registry refuses the schema or the compatibility, with its reason.
            TransientError, RefusedError: as for `text`.
        """
        try:
            wanted = json.loads(text)
        except ValueError as error:
            raise ContractError(f"{subject}: the schema is no JSON: {error}") from error

        def configure(client: SchemaRegistryClient) -> Any:
            return client.set_compatibility(subject, compatibility)

        configured = self._ask(configure)
        for schema_id, known in self.versions(subject):
            if json.loads(known) == wanted:
                return schema_id
        added = self._ask(lambda client: client.register_schema(subject, Schema(text, "AVRO")))
        if added is None:
            raise TransientError(f"the registry at {self.place} did not keep the schema of {subject}")
        if configured is None:  # some registries configure only subjects that have a schema
            self._ask(configure)
        return self._id(added, f"the schema of {subject}")

    def close(self) -> None:
        """Closes the connections; no call may follow."""
        self._client.close()

    def _connected(self) -> SchemaRegistryClient:
        own = {"basic.auth.user.info": f"{self._user}:{self._known}"} if self._user else {}
        try:
            return SchemaRegistryClient({**self._settings, **own})
        except ssl.SSLError as error:
            raise ConfigError(f"registry.ca = {self._ca_file!r} is no PEM file: {error}") from error

    def _read(self) -> str:
        return self._password() if callable(self._password) else self._password

    def _renewed(self) -> bool:
        """Whether there is another password by now; it counts from here on."""
        try:
            password = self._read()
        except ConfigError:  # being replaced just now, or gone: the refusal says what matters
            return False
        if password == self._known:
            return False
        self._client.close()
        self._known = password
        self._client = self._connected()
        return True

    def _ask(self, call: Callable[[SchemaRegistryClient], Answer]) -> Answer | None:
        """The client's answer, or None where the registry says that what was asked for is not there."""
        try:
            return self._answer(call)
        except RefusedError:
            if not self._renewed():
                raise
            return self._answer(call)

    def _answer(self, call: Callable[[SchemaRegistryClient], Answer]) -> Answer | None:
        try:
            return call(self._client)
        except SchemaRegistryError as error:
            if error.error_code in _ABSENT:
                return None
            raise _meaning(error, self.place) from error
        except Exception as error:  # the client lets through whatever its HTTP library and its JSON parser raise
            if _is_about_certificates(error):
                raise RefusedError(f"the registry at {self.place} is not trusted: {error}; see registry.ca") from error
            what = f"{type(error).__name__}: {error}"[:_REASON_CHARACTERS_MAX]
            raise TransientError(f"the registry at {self.place} does not answer ({what})") from error

    def _checked(self, schema: Any, what: str) -> str:
        if not isinstance(schema.schema_str, str):
            raise TransientError(f"the registry at {self.place} answers, but not with a schema, when asked for {what}")
        if schema.schema_type not in (None, "AVRO"):
            raise ContractError(f"{what} is {schema.schema_type}; events are Avro")
        if schema.references:
            names = ", ".join(str(reference.name) for reference in schema.references)
            raise ContractError(f"{what} refers to other schemas ({names}); only self-contained schemas are read")
        try:
            schema.schema_str.encode()
            json.loads(schema.schema_str)
        except (ValueError, RecursionError) as error:
            raise ContractError(f"{what} is no JSON: {error}") from error
        return schema.schema_str

    def _id(self, given: Any, what: str) -> int:
        if not _is_number(given):
            raise TransientError(f"the registry at {self.place} gives no id for {what}")
        return given


def _is_number(given: Any) -> TypeGuard[int]:
    """Whether it can be an id or a version: ids become file names and four bytes of every prediction."""
    return type(given) is int and 0 <= given <= ID_MAX


def _version(subject: str, version: int, client: SchemaRegistryClient) -> Any:
    return client.get_version(subject, version)


def _meaning(error: SchemaRegistryError, place: str) -> ScorerError:
    """Who must act on an error answer."""
    status = error.http_status_code
    reason = str(error.error_message or "no reason given")[:_REASON_CHARACTERS_MAX]
    answer = f"the registry at {place} answers HTTP {status}"
    if status in (408, 429) or status >= 500:
        return TransientError(f"{answer}: {reason}")
    if status == 404:
        return TransientError(f"{answer}, but not as a registry does; is the path of registry.url right? ({reason})")
    if status in (401, 403):
        return RefusedError(f"{answer}: it refuses registry.username and registry.password: {reason}")
    if status in (409, 422):
        return ContractError(f"{answer}: {reason}")
    return ConfigError(f"{answer}: {reason}; is registry.url right?")


def _is_about_certificates(error: BaseException) -> bool:
    """Whether a certificate's verification is at the root of an error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _split(access: RegistryAccess) -> tuple[list[str], str, str | Callable[[], str]]:
    """The URLs without credentials, the user, and the password or what reads it."""
    urls: list[str] = []
    user, password = access.user, access.password
    for number, each in enumerate(access.url.split(","), start=1):
        try:
            parts = urlsplit(each.strip())
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if host is None or parts.scheme not in ("http", "https"):
            raise ConfigError(
                f"registry.url: address {number} is not of the form http://HOST:PORT or https://HOST/PATH"
            )
        if not user and parts.username:
            user, password = unquote(parts.username), unquote(parts.password or "")
        urls.append(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", "")))
    return urls, user, password

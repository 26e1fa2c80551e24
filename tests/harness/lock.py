"""A lead stream on a Kafka that asks who is there: its user, its rights, and settings that name them.

Secrets are canaries: `betrayed` looks for them in all that a process leaves.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness.lead_stream import LeadStream, lead_stream
from tests.harness.secure_kafka import Right, SecureKafka
from tests.harness.topics import DEPLOYMENTS
from tests.harness.workers import Worker
from tests.unit.edges.registry_stub import serve

SECRET = "canary-4Qz"
"""What every password here begins with."""


@dataclass(slots=True)
class Lock:
    """A lead stream and its user.

    Attributes:
        kafka: where it is.
        leads: the stream; the test itself comes in by the plain door.
        name: the user's.
        password: what counts at the moment.
        secrets: every password that there ever was.
    """

    kafka: SecureKafka
    leads: LeadStream
    name: str = field(default_factory=lambda: f"user-{uuid.uuid4().hex[:8]}")
    password: str = ""
    secrets: list[str] = field(default_factory=list)

    @property
    def principal(self) -> str:
        """As ACLs name it, whichever way it comes in."""
        return f"User:{self.name}"

    @property
    def file(self) -> Path:
        """The file that the settings say the password is in."""
        return self.leads.folder / "password"

    @property
    def rights(self) -> list[Right]:
        """The least that a worker needs, transactions included; docs/security.md has the same table."""
        topics, group = self.leads.topics, self.leads.group
        return [
            Right("topic", topics.events, "Read"),
            Right("topic", topics.predictions, "Write"),
            Right("topic", topics.letters, "Write"),
            Right("group", f"{group}.lead", "Read"),
            Right("transactional-id", f"{group}.lead.0", "Write"),
            *(Right("topic", DEPLOYMENTS, operation) for operation in ("Read", "Write")),
            *(
                Right("topic", name, "DescribeConfigs")
                for name in (topics.events, topics.predictions, topics.letters, DEPLOYMENTS)
            ),
        ]

    def right(self, place: str) -> Right:
        """One of them: input, output, letters, group, transaction, or deployments, which are read."""
        return self.rights[("input", "output", "letters", "group", "transaction", "deployments").index(place)]

    def rotate(self, written: bool = True) -> None:
        """A new password, at the broker and, if `written`, in the file."""
        self.password = f"{SECRET}-{uuid.uuid4().hex}"
        self.secrets.append(self.password)
        self.kafka.set_password(self.name, self.password)
        if written:
            self.write()

    def write(self) -> None:
        """The password that counts goes into the file, as an editor would put it there."""
        self.file.write_text(f"{self.password}\n", encoding="utf-8")

    def scram(self, address: str = "", **more: Any) -> dict[str, Any]:
        """[kafka] by user and password."""
        return {
            "bootstrap.servers": address or self.kafka.scram,
            "security.protocol": "sasl_ssl",
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": self.name,
            "sasl.password": {"file": str(self.file)},
            "ssl.ca.location": str(self.kafka.authority.file),
            **more,
        }

    def mutual(self, certificate: Path, **more: Any) -> dict[str, Any]:
        """[kafka] by certificate."""
        return {
            "bootstrap.servers": self.kafka.mutual,
            "security.protocol": "ssl",
            "ssl.ca.location": str(self.kafka.authority.file),
            "ssl.certificate.location": str(certificate),
            "ssl.key.location": str(certificate),
            **more,
        }

    def settings(self, kafka: Mapping[str, Any], more: Mapping[str, Any] | None = None, **tables: Any) -> Path:
        """LeadStream.settings with this [kafka]; a reference to a file is {"file": PATH}."""
        path = self.leads.settings(more, **tables)
        head = f'[kafka]\n"bootstrap.servers" = {json.dumps(self.leads.kafka)}\n'
        text = path.read_text(encoding="utf-8")
        assert head in text
        lines = "".join(f"{json.dumps(name)} = {_toml(value)}\n" for name, value in kafka.items())
        path.write_text(text.replace(head, f"[kafka]\n{lines}"), encoding="utf-8")
        return path

    def betrayed(self, running: Worker | None = None) -> list[str]:
        """Where a secret shows: logs and all other files but its own, and what a running process answers."""
        found = [
            path.name
            for path in self.leads.folder.rglob("*")
            if path.is_file() and path != self.file and SECRET.encode() in path.read_bytes()
        ]
        if running is not None:
            pages = {"/metrics": running.exposition(), "ready": json.dumps(running.health("ready"))}
            found += [name for name, page in pages.items() if SECRET in page]
        return found


@contextmanager
def lock(kafka: SecureKafka, folder: Path, *, granted: bool = True) -> Iterator[Lock]:
    """A stream with a user who has a password and, if `granted`, the rights of a worker."""
    with serve() as registry, lead_stream(kafka.plain, f"http://127.0.0.1:{registry.port}", folder) as leads:
        made = Lock(kafka, leads)
        made.rotate()
        if granted:
            kafka.allow(made.principal, made.rights)
        try:
            yield made
        finally:
            kafka.drop_user(made.name)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {json.dumps(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value)

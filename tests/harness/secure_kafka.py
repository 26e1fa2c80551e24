"""A Kafka that asks who is there and what they may do: SASL_SSL with SCRAM-SHA-512, mutual TLS, and ACLs.

One broker with a listener for each, one more whose certificate has run out, and a plain one for the test itself, which
may do everything. Sessions on the SASL_SSL listener end after SESSION_MS, so a password that no longer counts is
noticed within that time. The way to the mutual-TLS listener can be cut, so that clients have to show their certificate
anew. Certificates are made here, by an authority of the test's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scorer.local import kafka as local
from scorer.local.ports import free_ports
from tests.harness.kafka import emptied, required
from tests.harness.proxy import Proxy, proxy

SESSION_MS = 10_000
WAIT_S_MAX = 30.0
KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
OPERATIONS = {each.name.replace("_", "").lower(): each for each in AclOperation}
PATTERNS = {"literal": ResourcePatternType.LITERAL, "prefixed": ResourcePatternType.PREFIXED}
SASL = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True, slots=True)
class Right:
    """One line of the table of rights: an operation on a resource, `kind` as kafka-acls names it."""

    kind: str
    name: str
    operation: str
    pattern: str = "literal"


_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates. `file` is its own."""

    folder: Path
    name: str = "ca"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def file(self) -> Path:
        """Its certificate, in PEM, written when first asked for."""
        path = self.folder / f"{self.name}.pem"
        if not path.exists():
            built = self._builder(self.name, self.key, days=30)
            built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            own = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
            built = built.add_extension(own, critical=False).add_extension(_SIGNS, critical=True)
            path.write_bytes(built.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path

    def issue(self, name: str, *, days: float = 30, file: str = "") -> Path:
        """Key and certificate of a client or server at 127.0.0.1, in one PEM file; negative days have run out.

        A file that is there is replaced, as by an agent that renews certificates.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        # Python 3.13 trusts no certificate without it.
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        built = self._builder(name, key, days).add_extension(here, critical=False).add_extension(by, critical=False)
        signed = built.sign(self.key, hashes.SHA256())
        path = self.folder / f"{file or name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + signed.public_bytes(serialization.Encoding.PEM)
        )
        return path

    def _builder(self, name: str, key: ec.EllipticCurvePrivateKey, days: float) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
        )


@dataclass(frozen=True, slots=True)
class SecureKafka:
    """A running one.

    Attributes:
        plain: for the test itself, which may do everything there.
        scram, mutual, lapsed: bootstrap addresses; `lapsed` asks as `scram` does, with a certificate that has run out.
        authority: signs all of its certificates.
        way: the way to `mutual`.
    """

    plain: str
    scram: str
    mutual: str
    lapsed: str
    authority: Authority
    way: Proxy

    def set_password(self, user: str, password: str) -> None:
        """Gives a user a password, in the place of an earlier one."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        self._alter(UserScramCredentialUpsertion(user, info, password.encode()))

    def drop_user(self, user: str) -> None:
        """The user's password counts no more."""
        self._alter(UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512))

    def allow(self, principal: str, rights: Iterable[Right]) -> None:
        """What `kafka-acls --add --allow-principal` does."""
        wanted = [AclBinding(*_grant(principal, right)) for right in rights]
        admin = self._admin()  # kept: a client that is gone cancels what is under way
        for done in admin.create_acls(wanted).values():
            done.result(WAIT_S_MAX)

    def forbid(self, principal: str, right: Right) -> None:
        """Takes one right back."""
        found = AclBindingFilter(*_grant(principal, right))
        admin = self._admin()
        (done,) = admin.delete_acls([found]).values()
        assert done.result(WAIT_S_MAX), f"{principal} had no such right: {right}"

    def _alter(self, change: UserScramCredentialUpsertion | UserScramCredentialDeletion) -> None:
        admin = self._admin()
        (done,) = admin.alter_user_scram_credentials([change]).values()
        done.result(WAIT_S_MAX)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.plain})


@contextmanager
def secure_kafka(folder: Path) -> Iterator[SecureKafka]:
    """Runs one for the length of a block.

    Raises:
        LocalUnavailable: Kafka cannot be had here.
    """
    authority = Authority(folder)
    plain, scram, mutual, lapsed, controller = free_ports(5)
    ports = {"PLAINTEXT": plain, "SCRAM": scram, "MUTUAL": mutual, "LAPSED": lapsed}
    listeners = {name: f"127.0.0.1:{port}" for name, port in {**ports, "CONTROLLER": controller}.items()}
    own = {"SCRAM": authority.issue("broker"), "LAPSED": authority.issue("broker", days=-1, file="lapsed")}
    overrides = {
        "listeners": ",".join(f"{name}://{at}" for name, at in listeners.items()),
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SCRAM:SASL_SSL,LAPSED:SASL_SSL,MUTUAL:SSL"
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(own["SCRAM"]),
        "listener.name.lapsed.ssl.keystore.location": str(own["LAPSED"]),
        "listener.name.mutual.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        **{f"listener.name.{name}.scram-sha-512.sasl.jaas.config": SASL for name in ("scram", "lapsed")},
        "listener.name.scram.scram-sha-512.connections.max.reauth.ms": str(SESSION_MS),
    }
    with proxy(mutual) as way:
        addresses = {name: f"127.0.0.1:{port}" for name, port in {**ports, "MUTUAL": way.port}.items()}
        overrides["advertised.listeners"] = ",".join(f"{name}://{at}" for name, at in addresses.items())
        plan = local.Plan((folder / "broker").resolve(), plain, controller, overrides=overrides)
        server = local.kafka(plan, lambda _: None)
        try:
            server.start()
            named = {name.lower().replace("text", ""): at for name, at in addresses.items()}
            yield SecureKafka(**named, authority=authority, way=way)
        finally:
            server.stop()


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """One for all tests of a run: give topics, groups and users names of their own."""
    with emptied(tmp_path_factory.mktemp("secure")) as folder, required(), secure_kafka(folder) as made:
        yield made


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _grant(principal: str, right: Right) -> tuple[object, ...]:
    """A right as Kafka's ACLs write it."""
    operation = OPERATIONS[right.operation.lower()]
    return KINDS[right.kind], right.name, PATTERNS[right.pattern], principal, "*", operation, AclPermissionType.ALLOW

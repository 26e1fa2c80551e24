"""A registry to talk to, a certificate for it, a database of one's own, and a gateway's store."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from scorer.edges.latest_reader import StoreReader
from scorer.edges.latest_store import LatestStore
from tests.harness.postgres import Server
from tests.unit.edges.registry_stub import Running, serve
from tests.unit.edges.sql_places import Place
from tests.unit.edges.web.live_world import KEEP, KIND


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as running:
        yield running


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A PEM file with a key and a certificate that signs itself for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry")])
    now, hour = datetime.datetime.now(datetime.UTC), datetime.timedelta(hours=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - hour)
        .not_valid_after(now + hour)
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "registry.pem"
    private = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, private, plain) + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def place(postgres: Server, database: str) -> Iterator[Place]:
    """A PostgreSQL database for one test alone."""
    it = Place(postgres, database)
    yield it
    it.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a gateway's store is."""
    return tmp_path / "store.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[LatestStore]:
    """The store, which a test may close itself."""
    made = LatestStore(path, KEEP)
    made.begin(KIND, "e1")
    yield made
    with suppress(OSError):
        made.close()


@pytest.fixture
def reader(store: LatestStore) -> Iterator[StoreReader]:
    """Who reads the store."""
    made = StoreReader(store.path)
    yield made
    made.close()

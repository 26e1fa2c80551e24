"""A real Kafka and a real registry, one of each for all tests of a run, and topics that last as long as their test.

Where they cannot be had, tests that need them are skipped with the reason; with CI=true they fail instead.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from scorer.local.java import LocalUnavailable
from scorer.local.kafka import running_kafka
from scorer.local.registry import running_registry

ADMIN_S_MAX = 15

Topics = Callable[..., str]


@contextmanager
def required() -> Iterator[None]:
    """Skips the test where Kafka or the registry cannot be had; fails it with CI=true."""
    try:
        yield
    except LocalUnavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"NOT TESTED, no real Kafka or registry here: {error}")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a broker that all tests share: give topics and groups names of their own."""
    with emptied(tmp_path_factory.mktemp("kafka")) as folder, required(), running_kafka(folder) as server:
        yield server.address


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a registry (Confluent's API) that all tests share: give subjects names of their own."""
    with emptied(tmp_path_factory.mktemp("registry")) as folder, required(), running_registry(folder) as server:
        yield server.address


@pytest.fixture
def topics(kafka: str) -> Iterator[Topics]:
    """Makes topics: `topics(partitions=4, **config)` returns the name of a new one, which is deleted after the test."""
    admin = AdminClient({"bootstrap.servers": kafka})
    made: list[str] = []

    def make(partitions: int = 4, **config: str) -> str:
        name = uuid.uuid4().hex
        topic = NewTopic(name, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
        admin.create_topics([topic])[name].result(ADMIN_S_MAX)
        made.append(name)
        return name

    yield make
    if made:
        for deleted in admin.delete_topics(made).values():
            deleted.result(ADMIN_S_MAX)


@contextmanager
def emptied(folder: Path) -> Iterator[Path]:
    """Removes what servers leave in `folder`; pytest itself would keep it for three runs."""
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

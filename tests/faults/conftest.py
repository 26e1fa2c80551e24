"""What every test of the rig needs to end well."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """Collects the sockets that kafka-python leaves behind where a broker is away, while that is no error."""
    yield
    gc.collect()

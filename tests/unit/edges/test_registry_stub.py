"""Tests that need a registry of their own find in it what they registered, whoever had its address before."""

from __future__ import annotations

from tests.harness.topics import DEPLOYMENTS, register, shipped_schema
from tests.unit.edges.registry_stub import Running

SCHEMA = shipped_schema("predictions.lead-score")


def test_a_registry_at_the_address_of_one_that_is_gone_is_given_the_schema_of_deployments(served: Running) -> None:
    address = f"http://127.0.0.1:{served.port}"
    register(address, "first", SCHEMA)
    served.registry.subjects.clear()
    served.registry.schemas.clear()
    register(address, "second", SCHEMA)
    assert set(served.registry.subjects) == {"second-value", f"{DEPLOYMENTS}-value"}


def test_a_schema_that_a_registry_has_is_not_another_version(served: Running) -> None:
    address = f"http://127.0.0.1:{served.port}"
    assert register(address, "events", SCHEMA) == register(address, "events", SCHEMA)
    assert {subject: len(versions) for subject, versions in served.registry.subjects.items()} == {
        "events-value": 1,
        f"{DEPLOYMENTS}-value": 1,
    }

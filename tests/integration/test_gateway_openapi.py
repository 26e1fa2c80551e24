"""schemathesis holds the gateway's OpenAPI document against the running gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

from tests.harness.gateways import Gateway, gateway, gateway_site, lead_score, recommendation
from tests.harness.workers import scorer

EXAMPLES = 40
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.ignored_auth,
]


@pytest.fixture(scope="module")
def served(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("openapi")
    own = {"stream_ms_max": 100, "beat_ms": 100, "wait_ms_max": 50, "tokens": str(folder / "tokens.toml")}
    with gateway_site(kafka, registry, folder, **own) as site:
        site.publish("recommendations", [recommendation(each, 1) for each in ("0", "a", "00")])
        site.publish("lead-scores", [lead_score(each, 1) for each in ("0", "a", "00")])
        scopes = ("recommendations", "recommendations:all", "lead-scores", "lead-scores:all")
        flags = [flag for each in scopes for flag in ("--scope", each)]
        made = scorer("gateway", "token", "all", *flags, "--config", str(site.config), cwd=folder)
        with gateway(site, token=made.stdout.strip()) as started:
            started.wait_for("/v1/lead-scores/00")
            yield started


@pytest.fixture(scope="module")
def document(served: Gateway) -> Any:
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
def test_every_answer_is_a_documented_one_and_none_is_a_failure(
    document: Any, served: Gateway, mode: GenerationMode
) -> None:
    statuses: set[tuple[str, int]] = set()
    for found in document.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
            derandomize=True,
            database=None,
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def probe(case: schemathesis.Case) -> None:
            answer = case.call_and_validate(
                headers={"Authorization": f"Bearer {served.token}"}, checks=CHECKS, timeout=20
            )
            statuses.add((case.operation.path, answer.status_code))

        with suppress(Unsatisfiable):  # what takes no parameter can be asked nothing wrong
            probe()
    assert served.process.running
    wanted = {GenerationMode.POSITIVE: {200, 404}, GenerationMode.NEGATIVE: {422}}[mode]
    assert wanted <= {status for _, status in statuses}


def test_the_document_names_every_route_and_its_entity(served: Gateway) -> None:
    found = served.get("/openapi.json").json()["paths"]
    assert set(found) == {
        "/v1",
        "/v1/explain",
        *(f"/v1/recommendations{rest}" for rest in ("/{customer_id}", "/{customer_id}/stream", "/stream")),
        *(f"/v1/lead-scores{rest}" for rest in ("/{lead_id}", "/{lead_id}/stream", "/stream")),
    }

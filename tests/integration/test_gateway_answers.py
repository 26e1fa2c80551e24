"""The gateway on a real Kafka: what it answers, after which event, and what a restart leaves."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.events import sampled
from tests.harness.gateways import Gateway, Site, gateway, gateway_site, lead_score, recommendation
from tests.harness.topics import send
from tests.harness.workers import worker

AWKWARD = ["a/b", "ö ü", "50%", "a?b#c", "..%2F..", "stream", "'; DROP TABLE latest; --", "x" * 512]


@pytest.fixture(scope="module")
def site(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gateway_site(kafka, registry, tmp_path_factory.mktemp("answers"), log_rows_max=1000) as made:
        yield made


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[Gateway]:
    with gateway(site) as started:
        yield started


def test_a_login_that_was_just_sent_is_answered_by_the_prediction_for_that_very_event(site: Site) -> None:
    logins = sampled("login", 20)
    with worker(site.config, "login") as scoring, gateway(site, name="login") as asked:
        scoring.wait_ready()
        for event in logins:
            value = site.encode_event["recommendations"](event)
            send(site.kafka, site.topics["recommendations"].events, [{"key": event["customer_id"], "value": value}])
            answer = asked.get(
                f"/v1/recommendations/{event['customer_id']}?after={event['event_id']}&wait_ms=5000&limit=5"
            )
            assert answer.status_code == 200
            found = answer.json()
            assert (found["event_id"], found["customer_id"]) == (event["event_id"], event["customer_id"])
            assert (found["stale"], found["fallback"], len(found["items"])) == (False, False, 5)
            assert found["provenance"]["source_topic"] == site.topics["recommendations"].events
            assert 0 <= found["age_ms"] < 60_000


def test_the_newest_wins_whatever_the_order_and_other_lanes_are_left_out(site: Site, served: Gateway) -> None:
    numbers = [5, 9, 2, 7, 1]
    site.publish("lead-scores", [lead_score("order", number) for number in numbers])
    site.publish("lead-scores", [lead_score("order", 99, lane="what-if"), lead_score("last", 1)])
    served.wait_for("/v1/lead-scores/last")
    assert served.get("/v1/lead-scores/order").json()["event_id"] == "lead-9"
    assert served.get("/v1/lead-scores/order?after=lead-2&wait_ms=0").json()["event_id"] == "lead-2"


@pytest.mark.parametrize("entity", AWKWARD)
def test_an_id_may_be_any_text_if_it_is_percent_encoded(site: Site, served: Gateway, entity: str) -> None:
    site.publish("lead-scores", [lead_score(entity, 3)])
    encoded = "".join(f"%{byte:02X}" for byte in entity.encode())
    assert served.wait_for(f"/v1/lead-scores/{encoded}").json()["lead_id"] == entity


def test_the_deadline_brings_the_latest_as_stale_else_what_is_popular_else_a_404(site: Site, served: Gateway) -> None:
    site.publish("recommendations", [recommendation("known", 1)])
    served.wait_for("/v1/recommendations/known")
    site.publish("lead-scores", [lead_score("known", 1)])
    started_s = time.monotonic()
    late = served.get("/v1/recommendations/known?after=login-never&wait_ms=300").json()
    assert 0.29 < time.monotonic() - started_s < 3
    assert (late["stale"], late["fallback"], late["event_id"]) == (True, False, "login-1")
    popular = served.get("/v1/recommendations/nobody?after=login-never&wait_ms=1&limit=3").json()
    assert (popular["stale"], popular["fallback"], popular["provenance"]) == (True, True, None)
    assert (popular["customer_id"], len(popular["items"])) == ("nobody", 3)
    assert set(popular["items"][0]) == {"product_code", "score"}
    for path in ("/v1/lead-scores/nobody?after=lead-never&wait_ms=1", "/v1/recommendations/nobody"):
        answer = served.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert "no prediction" in answer.json()["detail"]


def test_an_unchanged_prediction_is_a_304_and_a_cut_or_stale_one_has_another_tag(site: Site, served: Gateway) -> None:
    site.publish("recommendations", [recommendation("tagged", 1)])
    path = "/v1/recommendations/tagged"
    tag = served.wait_for(path).headers["etag"]
    again = served.get(path, if_none_match=tag)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert again.headers["cache-control"] == "private, no-cache"
    for other in (path + "?limit=2", path + "?after=login-none&wait_ms=0"):
        assert served.get(other, if_none_match=tag).status_code == 200
    site.publish("recommendations", [recommendation("tagged", 2)])
    served.process.until(lambda: served.get(path, if_none_match=tag).status_code == 200, "telling of the newer one")


def test_of_an_erased_entity_the_id_alone_is_left_for_readers_who_are_away(site: Site, served: Gateway) -> None:
    site.publish("recommendations", [recommendation("to-erase-7391", number) for number in range(1, 20)])
    path = "/v1/recommendations/to-erase-7391"
    served.wait_for(path)
    site.erase("recommendations", "to-erase-7391")
    served.wait_for(path, 404)
    assert served.get(path + "?after=login-19&wait_ms=0").json()["fallback"] is True
    site.publish("recommendations", [recommendation("after-erasure", 1)])
    served.wait_for("/v1/recommendations/after-erasure")
    store = sqlite3.connect(site.config.parent / "gateway.sqlite3")

    def kept() -> list[Any]:
        found = "SELECT event_id, body FROM {} WHERE entity = 'to-erase-7391' OR instr(body, 'to-erase-7391') > 0"
        return [row for table in ("latest", "log") for row in store.execute(found.format(table))]

    served.process.until(lambda: kept() == [("", None)], "rid of its predictions on disk", 10)
    store.close()
    assert "to-erase-7391" not in served.process.text()


def test_a_killed_gateway_goes_on_from_its_store_and_reads_nothing_twice(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    with gateway_site(kafka, registry, tmp_path) as site:
        site.publish("lead-scores", [lead_score(f"lead-{number}", number) for number in range(3000)])
        with gateway(site) as first:
            first.wait_for("/v1/lead-scores/lead-2999")
            first.process.until(
                lambda: first.process.metric("scorer_gateway_records_written_total") == 3000, "done with writing"
            )
            first.process.signal(signal.SIGKILL)
            first.process.wait()
        site.publish("lead-scores", [lead_score("since", 3001), lead_score("lead-5", 4000)])
        with gateway(site) as second:
            assert second.wait_for("/v1/lead-scores/since").json()["event_id"] == "lead-3001"
            assert second.get("/v1/lead-scores/lead-5").json()["event_id"] == "lead-4000"
            assert second.get("/v1/lead-scores/lead-17").json()["event_id"] == "lead-17"
            assert second.process.metric("scorer_gateway_records_read_total") == 2


def test_a_second_gateway_on_the_same_store_is_refused(site: Site, served: Gateway) -> None:
    from tests.harness.workers import scorer

    ended = scorer("gateway", "--config", str(site.config), "--port", "0", cwd=site.config.parent)
    assert ended.returncode == 3
    assert "another gateway's" in ended.stderr

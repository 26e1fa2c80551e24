"""A prediction's origin over HTTP and on the page: what `scorer explain` says, for whoever has the scope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests.harness.events import messages, sampled
from tests.harness.gateways import Gateway, Site, gateway, gateway_site
from tests.harness.topics import send
from tests.harness.workers import scorer, worker
from tests.integration.test_gateway_page import ARTEFACTS, LARGE, WAIT_MS, browser

__all__ = ["browser"]
pytestmark = pytest.mark.timeout(180)

COUNT = 40
READ = ("lead-scores", "lead-scores:all")


@dataclass(frozen=True, slots=True)
class Told:
    """A gateway whose stream was scored, one of its predictions, and a token that may read but not ask."""

    gateway: Gateway
    lead: str
    prediction_id: str
    reader: str


def _token(site: Site, name: str, *scopes: str) -> str:
    flags = [flag for each in scopes for flag in ("--scope", each)]
    made = scorer("gateway", "token", name, *flags, "--config", str(site.config), cwd=site.config.parent)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture(scope="module")
def told(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("explain")
    with gateway_site(kafka, registry, folder, tokens=str(folder / "tokens.toml")) as site:
        auditor, reader = _token(site, "auditor", *READ, "explain"), _token(site, "reader", *READ)
        leads = sampled("lead", COUNT)
        with worker(site.config, "lead") as running, gateway(site, token=auditor) as served:
            running.wait_ready()
            send(kafka, site.topics["lead-scores"].events, messages(leads, "lead_id", site.encode_event["lead-scores"]))
            lead = str(leads[-1]["lead_id"])
            found = served.wait_for(f"/v1/lead-scores/{lead}").json()
            yield Told(served, lead, found["provenance"]["prediction_id"], reader)


def test_an_auditor_gets_what_the_command_says_for_machines_and_for_people(told: Told) -> None:
    path = f"/v1/explain?id={quote(told.prediction_id, safe='')}"
    answer = told.gateway.get(path)
    document = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert document["verdict"]["level"] == "bit_equal"
    assert {each[1]: each[3] for each in document["event"]["fields"]}["lead_id"] == told.lead
    config = told.gateway.process.config
    ended = scorer("explain", told.prediction_id, "--config", str(config), cwd=config.parent)
    text = told.gateway.get(f"{path}&as=text")
    assert text.headers["content-type"].startswith("text/plain")
    assert text.text == ended.stdout
    hidden = told.gateway.get(f"{path}&payload=false")
    assert hidden.json()["verdict"]["level"] == "bit_equal"
    assert told.lead not in hidden.text


def test_whoever_lacks_the_scope_learns_nothing_and_what_is_no_id_is_said(told: Told) -> None:
    path = f"/v1/explain?id={quote(told.prediction_id, safe='')}"
    reader = Gateway(told.gateway.process, told.gateway.port, told.reader)
    assert told.gateway.get("/v1").json()["explain"] is True
    assert reader.get("/v1").json()["explain"] is False
    for asked in (path, "/v1/explain?id=lead/1/nowhere/0/0", "/v1/explain?id=x"):
        refused = reader.get(asked)
        assert (refused.status_code, refused.json()["detail"]) == (403, "this token lacks the scope explain")
    assert told.gateway.get("/v1/explain?id=x").status_code == 404
    assert "no stream of the settings reads nowhere" in told.gateway.get("/v1/explain?id=lead/1/nowhere/0/0").text
    assert told.gateway.get("/v1/explain").status_code == 422


def test_on_the_page_one_click_says_where_a_prediction_comes_from(told: Told, browser: object) -> None:
    context = browser.new_context(viewport=LARGE, reduced_motion="reduce")  # type: ignore[attr-defined]
    for token, allowed in ((told.reader, False), (told.gateway.token, True)):
        page = context.new_page()
        page.add_init_script(f"sessionStorage.setItem('token', '{token}')")
        page.goto(told.gateway.url + "/#lead-scores")
        page.wait_for_selector("#connection[data-state=live]", timeout=WAIT_MS)
        page.fill("#entity", told.lead)
        page.keyboard.press("Enter")
        page.wait_for_selector("#found details[open] .more", timeout=WAIT_MS)
        assert page.locator("#found .account button").count() == allowed
    page.click("#found .account button")
    page.wait_for_selector("#found .account pre", timeout=2 * WAIT_MS)
    shown = page.text_content("#found .account pre")
    assert f"prediction   {told.prediction_id}, lane live" in shown
    assert "bit equal: scored again now, it comes out the same" in shown
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.screenshot(path=ARTEFACTS / "page-explained.png", full_page=True)
    context.close()

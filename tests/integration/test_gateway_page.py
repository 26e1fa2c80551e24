"""The page in a real browser: Debian's headless Chromium. Screenshots are kept in the git-ignored folder artefacts/."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.gateways import Gateway, Site, gateway, gateway_site, lead_score, recommendation
from tests.harness.topics import ROOT
from tests.harness.workers import scorer

CHROMIUM = Path("/usr/bin/chromium")
ARTEFACTS = ROOT / "artefacts"
WAIT_MS = 15_000
SMALL, LARGE = {"width": 360, "height": 740}, {"width": 1180, "height": 860}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        if os.environ.get("CI") == "true" and os.environ.get("CHROMIUM_REQUIRED") == "true":
            pytest.fail(f"{CHROMIUM} is missing")
        pytest.skip(f"NOT TESTED, no Chromium here: apt-get install chromium puts it at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    ARTEFACTS.mkdir(exist_ok=True)
    with sync_playwright() as tools:
        started = tools.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("page")
    with gateway_site(kafka, registry, folder, tokens=str(folder / "tokens.toml")) as made:
        yield made


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[Gateway]:
    scopes = ("recommendations", "recommendations:all", "lead-scores", "lead-scores:all")
    flags = [flag for each in scopes for flag in ("--scope", each)]
    made = scorer("gateway", "token", "page", *flags, "--config", str(site.config), cwd=site.config.parent)
    with gateway(site, token=made.stdout.strip()) as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def predictions(site: Site, served: Gateway) -> Iterator[None]:
    """Some that are there, and more that keep coming."""
    over = threading.Event()
    site.publish("lead-scores", [lead_score(f"lead-{number}", number) for number in range(40)])
    site.publish("recommendations", [recommendation(f"customer-{number}", number) for number in range(40)])

    def keep_coming() -> None:
        number = 1_000
        while not over.wait(0.15):
            now_ms = int(time.time() * 1000)
            times = {"scored_at": now_ms, "source_timestamp": now_ms - 3 - number % 9, "occurred_at": now_ms + number}
            site.publish("lead-scores", [lead_score(f"lead-{number}", number * 31, **times) for _ in range(3)])
            site.publish("recommendations", [recommendation(f"customer-{number}", number, **times)])
            number += 1

    thread = threading.Thread(target=keep_coming, daemon=True)
    thread.start()
    served.wait_for("/v1/lead-scores/lead-39")
    yield
    over.set()
    thread.join()


@pytest.fixture
def page(browser: Any, served: Gateway) -> Iterator[Any]:
    with _page(browser, served) as (opened, problems):
        yield opened
    assert [each for each in problems if "404" not in each] == []  # the browser's own word for a 404


def _page(browser: Any, served: Gateway, **context: Any) -> Any:
    from contextlib import contextmanager

    @contextmanager
    def opened() -> Iterator[tuple[Any, list[str]]]:
        problems: list[str] = []
        own = browser.new_context(**{"viewport": LARGE, "reduced_motion": "reduce", **context})
        own.add_init_script(f"sessionStorage.setItem('token', '{served.token}')")
        shown = own.new_page()
        shown.on("pageerror", lambda error: problems.append(str(error)))
        shown.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        shown.goto(served.url)
        yield shown, problems
        own.close()

    return opened()


def test_scores_show_as_they_come_and_open_to_their_provenance(page: Any) -> None:
    page.wait_for_selector("#connection[data-state=live]", timeout=WAIT_MS)
    _until(lambda: float(page.text_content("#rate")) > 5)
    first = page.text_content("#feed li .who")
    _until(lambda: page.text_content("#feed li .who") != first)
    assert 0 < float(page.text_content("#delay")) < 100
    assert page.get_attribute("#rate-line .line", "d").startswith("M")
    page.click("#pause")
    page.click("#feed li summary")
    opened = page.text_content("#feed li details[open] .more")
    assert all(word in opened for word in ("provenance", "model sha256", "source offset", "event_id".replace("_", " ")))


def test_the_page_looks_right_in_light_and_dark_and_on_a_phone(browser: Any, served: Gateway) -> None:
    looks = {
        "light": {"color_scheme": "light", "viewport": LARGE},
        "dark": {"color_scheme": "dark", "viewport": LARGE},
        "phone": {"color_scheme": "light", "viewport": SMALL, "device_scale_factor": 2, "is_mobile": True},
        "phone-dark": {"color_scheme": "dark", "viewport": SMALL, "device_scale_factor": 2, "is_mobile": True},
    }
    grounds = {}
    for name, context in looks.items():
        with _page(browser, served, **context) as (shown, problems):
            shown.wait_for_selector("#connection[data-state=live]", timeout=WAIT_MS)
            if "dark" in name:
                shown.click("#tab-lead-scores")
            shown.wait_for_selector("#feed li", timeout=WAIT_MS)
            shown.wait_for_timeout(3_500)
            shown.click("#pause")
            shown.click("#feed li:nth-child(2) summary")
            shown.screenshot(path=ARTEFACTS / f"page-{name}.png")
            shown.evaluate("document.querySelector('#feed details[open]').scrollIntoView()")
            shown.screenshot(path=ARTEFACTS / f"page-{name}-open.png")
            grounds[name] = shown.evaluate("getComputedStyle(document.body).backgroundColor")
            assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"
            assert problems == []
    assert grounds["light"] != grounds["dark"]


def test_a_person_with_a_keyboard_alone_finds_one_and_sees_where_the_focus_is(page: Any) -> None:
    page.wait_for_selector("#connection[data-state=live]", timeout=WAIT_MS)
    page.focus("#tab-recommendations")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#tab-lead-scores[aria-selected=true]:focus", timeout=WAIT_MS)
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#tab-recommendations[aria-selected=true]", timeout=WAIT_MS)
    page.wait_for_selector("#feed li summary", timeout=WAIT_MS)
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "entity":
            break
    page.keyboard.type("customer-7")
    page.keyboard.press("Enter")
    page.wait_for_selector("#found details[open]", timeout=WAIT_MS)
    assert page.text_content("#found .who") == "customer-7"
    assert page.locator("#found table tbody tr").count() == 10
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.fill("#entity", "nobody/at all")
    page.keyboard.press("Enter")
    page.wait_for_selector("#found .problem", timeout=WAIT_MS)


def test_without_a_token_the_page_asks_for_one_and_keeps_it_in_its_tab(browser: Any, served: Gateway) -> None:
    context = browser.new_context(viewport=SMALL, reduced_motion="reduce")
    shown = context.new_page()
    shown.goto(served.url)
    shown.wait_for_selector("#access:not([hidden])", timeout=WAIT_MS)
    shown.screenshot(path=ARTEFACTS / "page-token.png")
    shown.fill("#token", "wrong")
    shown.keyboard.press("Enter")
    _until(lambda: "not valid" in shown.text_content("#connection-text"))
    shown.fill("#token", served.token)
    shown.keyboard.press("Enter")
    shown.wait_for_selector("#connection[data-state=live]", timeout=WAIT_MS)
    assert shown.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert served.token not in shown.content()
    assert served.token not in shown.url
    shown.click("#forget")
    shown.wait_for_selector("#access:not([hidden])", timeout=WAIT_MS)
    context.close()


def test_every_control_has_a_name_and_every_text_enough_contrast(browser: Any, served: Gateway) -> None:
    for scheme in ("light", "dark"):
        with _page(browser, served, color_scheme=scheme) as (shown, _):
            shown.wait_for_selector("#feed li summary", timeout=WAIT_MS)
            nameless = shown.evaluate(
                "[...document.querySelectorAll('button, input, meter, svg[role]')].filter(each => "
                "!(each.textContent.trim() || each.labels?.length || each.ariaLabel)).map(each => each.outerHTML)"
            )
            assert nameless == []
            assert shown.evaluate(CONTRASTS) == []


def _until(holds: Callable[[], bool]) -> None:
    """Asks again and again; the page's policy forbids Playwright's own way, which evaluates text in the page."""
    deadline_s = time.monotonic() + WAIT_MS / 1000
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


CONTRASTS = """() => {
  const parts = text => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const light = rgb => rgb.map(c => c / 255).map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
  const ground = each => {
    for (; each; each = each.parentElement) {
      const found = getComputedStyle(each).backgroundColor;
      if (!/, 0\\)$/.test(found) && found !== 'transparent') return parts(found);
    }
    return [255, 255, 255];
  };
  const weak = [];
  for (const each of document.querySelectorAll('h1, h2, p, button, label, figcaption, small, .chip, .who, .when')) {
    if (!each.offsetParent || each.closest('.unseen, .skip')) continue;
    const [a, b] = [light(parts(getComputedStyle(each).color)), light(ground(each))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) weak.push(`${each.tagName} ${each.className} ${each.id}`);
  }
  return [...new Set(weak)];
}"""

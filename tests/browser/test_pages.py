"""The pages in Chromium: what people see, in light and dark, on three widths, with and without scripts."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, Product

pytestmark = [pytest.mark.chromium, pytest.mark.processes]

OUTSIDE = ["/", "/login", "/signup", "/nowhere", "/dev/components"]


def home(product: Product, visit: Open, state: Any, **options: Any) -> Any:
    one = visit(state=state, **options)
    one.go("/")
    return one


def charts_drawn(page: Any) -> None:
    expect(page.locator("[data-chart][data-drawn]")).to_have_count(2)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1024, 1440])
def test_home_fits_and_reads_well(product: Product, visit: Open, signed_in: Any, theme: str, width: int) -> None:
    one = home(product, visit, signed_in, theme=theme, width=width)
    charts_drawn(one.page)
    expect(one.page.locator("html")).to_have_attribute("data-theme", theme)
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"home-{theme}-{width}")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", OUTSIDE)
def test_pages_outside_an_organisation_read_well(visit: Open, path: str, theme: str) -> None:
    one = visit(theme=theme, width=375)
    one.go(path)
    if path == "/nowhere":
        one.complaints[:] = [line for line in one.complaints if "404" not in line]
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"outside-{path.strip('/').replace('/', '-') or 'landing'}-{theme}")


@pytest.mark.parametrize("width", [375, 1440])
def test_projects_and_keys_read_well(product: Product, visit: Open, signed_in: Any, width: int) -> None:
    one = home(product, visit, signed_in, width=width)
    one.go(re.sub(r"^https?://[^/]+", "", one.page.url) + "projects")
    assert one.overflow() <= 0
    assert one.axe() == []
    one.page.locator("tbody a").first.click()
    expect(one.page.get_by_role("heading", name="New key", exact=True)).to_be_visible()
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"project-{width}")


def test_the_stacked_panel_changes_without_leaving_the_page(product: Product, visit: Open, signed_in: Any) -> None:
    one = home(product, visit, signed_in)
    charts_drawn(one.page)
    one.page.evaluate("window.stayed = true")
    one.page.get_by_role("link", name="Tokens", exact=True).click()
    expect(one.page.get_by_role("heading", name="Tokens by day")).to_be_visible()
    charts_drawn(one.page)
    assert one.page.evaluate("window.stayed") is True
    assert "metric=tokens" in one.page.url
    one.page.reload()
    expect(one.page.get_by_role("heading", name="Tokens by day")).to_be_visible()


def test_a_panel_that_cannot_be_loaded_says_so_and_the_page_stays(
    product: Product, visit: Open, signed_in: Any
) -> None:
    one = home(product, visit, signed_in)
    charts_drawn(one.page)
    one.page.route(
        "**/*metric=calls*", lambda route: route.fulfill(status=503, headers={"X-Correlation-Id": "abc-123"})
    )
    one.page.get_by_role("link", name="Calls", exact=True).click()
    expect(one.page.locator(".mw-toast")).to_contain_text("could not be loaded")
    expect(one.page.locator(".mw-toast code")).to_have_text("abc-123")
    expect(one.page.get_by_role("heading", name="Spend by day")).to_be_visible()
    one.complaints[:] = [line for line in one.complaints if "503" not in line]
    assert one.axe() == []


def test_the_figures_move_when_an_event_arrives(product: Product, visit: Open, signed_in: Any) -> None:
    one = home(product, visit, signed_in)
    expect(one.page.locator(".mw-pulse.mw-on").first).to_be_visible(timeout=15_000)
    events = one.page.locator("[data-live-events]")
    before = int(events.inner_text().replace(",", ""))
    assert product.send(product.api_key) == 202
    expect(events).not_to_have_text(f"{before:,}", timeout=15_000)
    assert int(events.inner_text().replace(",", "")) > before


def test_somebody_new_comes_to_their_first_event(product: Product, visit: Open) -> None:
    one = visit()
    page = one.page
    one.go("/")
    page.get_by_role("link", name="Start, about two minutes").click()
    page.get_by_label("Your name").fill("Nora Weaver")
    page.get_by_label("E-mail address").fill("nora@weavers.test")
    page.get_by_label("Password").fill("woven-in-daylight")
    page.get_by_role("button", name="Make the account").click()
    page.get_by_label("Name").fill("Night Weavers")
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name").fill("torque-bench")
    page.get_by_role("button", name="Make the project").click()
    page.get_by_role("button", name="Make a key").click()
    key = page.locator(".mw-keybox code").inner_text()
    expect(page.get_by_text("Waiting for your first event")).to_be_visible()
    assert one.axe() == []
    one.keep("first-run-waiting")
    page.get_by_role("tab", name="Claude Code").press("ArrowRight")
    expect(page.get_by_role("tab", name="curl")).to_have_attribute("aria-selected", "true")
    python = page.locator("#snip-python pre").text_content() or ""
    assert key in run(["bash", "-c", page.locator("#snip-curl pre").inner_text()], key)
    expect(page.get_by_text("api_call, claude-haiku-5-5")).to_be_visible(timeout=20_000)
    assert one.axe() == []
    one.keep("first-run-arrived")
    page.get_by_role("link", name="Open Home").click()
    expect(page.get_by_role("heading", name="Spend", exact=True)).to_be_visible()
    expect(page.locator("[data-live-events]")).to_have_text("1")
    run([sys.executable, "-c", python], key)
    expect(page.locator("[data-live-events]")).to_have_text("2", timeout=15_000)


def run(command: list[str], key: str) -> str:
    """Run a snippet as it was shown; returns it, so that a test may look what it was."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["accepted"] == 1, done.stdout
    return " ".join(command)


def test_pages_can_be_read_and_forms_sent_without_scripts(product: Product, visit: Open) -> None:
    one = visit(scripts=False)
    page = one.page
    one.go("/login")
    page.get_by_label("E-mail address").fill(product.email)
    page.get_by_label("Password").fill(product.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Top projects")).to_be_visible()
    page.locator("summary", has_text="Show as table").first.click()
    expect(page.get_by_role("region", name="Spend added up by day, table")).to_be_visible()
    page.locator("main details summary", has_text="Last 28 days").click()
    page.get_by_role("link", name="Last 7 days").click()
    expect(page.get_by_role("heading", name="Last 7 days")).to_be_visible()
    page.get_by_role("link", name="Projects and keys").click()
    page.get_by_label("Name").fill("made-without-scripts")
    page.get_by_role("button", name="Make the project").click()
    expect(page.get_by_role("heading", name="made-without-scripts")).to_be_visible()


def test_the_keyboard_reaches_everything(product: Product, visit: Open, signed_in: Any) -> None:
    one = home(product, visit, signed_in)
    page = one.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox")).to_be_focused()
    page.keyboard.type("proj")
    expect(page.get_by_role("option", selected=True)).to_contain_text("Projects and keys")
    assert one.axe() == []
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Projects and keys")).to_be_visible()
    summary = page.locator("aside summary").first
    summary.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    expect(page.locator("aside .mw-menu a").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(summary).to_be_focused()


def test_the_navigation_of_a_phone_holds_the_page_still(product: Product, visit: Open, signed_in: Any) -> None:
    one = home(product, visit, signed_in, width=375)
    page = one.page
    page.get_by_role("button", name="Open navigation").click()
    expect(page.get_by_role("link", name="Projects and keys")).to_be_visible()
    assert page.evaluate("document.querySelector('.mw-page').inert") is True
    assert one.axe() == []
    one.keep("navigation-375")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Open navigation")).to_be_focused()


def test_the_chosen_theme_stays(product: Product, visit: Open, signed_in: Any) -> None:
    one = home(product, visit, signed_in)
    one.page.get_by_role("button", name="Switch between light and dark").click()
    expect(one.page.locator("html")).to_have_attribute("data-theme", "dark")
    one.page.reload()
    expect(one.page.locator("html")).to_have_attribute("data-theme", "dark")

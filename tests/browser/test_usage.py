"""Usage, sessions, events and costs in Chromium: light and dark, three widths; the tail as events arrive."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, Product, at_home

pytestmark = [pytest.mark.chromium, pytest.mark.processes]

PAGES = {
    "usage": "usage?by=project",
    "usage-filter": "usage?by=user&filter[status]=ok&add=team",
    "usage-lines": "usage?view=lines&metric=tokens",
    "usage-heat": "usage?view=heat&metric=calls",
    "costs": "costs?period=28d",
    "sessions": "sessions",
    "events": "events",
}
LOOKS = [("light", 1440), ("dark", 1024), ("light", 375)]


@pytest.mark.parametrize(("theme", "width"), LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_each_page_fits_and_reads_well(visit: Open, signed_in: Any, name: str, theme: str, width: int) -> None:
    one, org = at_home(visit, signed_in, theme=theme, width=width)
    one.go(org + PAGES[name])
    expect(one.page.locator("main h1")).to_be_visible()
    charts = one.page.locator("[data-chart]").count()
    expect(one.page.locator("[data-chart][data-drawn]")).to_have_count(charts)
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"{name}-{theme}-{width}")


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_a_session_and_its_calls_read_well(visit: Open, signed_in: Any, theme: str, width: int) -> None:
    one, org = at_home(visit, signed_in, theme=theme, width=width)
    one.go(org + "sessions")
    one.page.locator("main tbody th a").first.click()
    expect(one.page.get_by_role("heading", name="Timeline")).to_be_visible()
    one.page.locator("a.mw-wf-r").first.click()
    expect(one.page.get_by_role("heading", name="Where it came from")).to_be_visible()
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"session-{theme}-{width}")
    one.page.get_by_role("link", name="All fields").click()
    expect(one.page.get_by_role("heading", name="All fields")).to_be_visible()
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"event-{theme}-{width}")


def test_a_view_is_made_with_the_keyboard_alone(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in)
    page = one.page
    one.go(org + "usage")
    menu = page.locator("summary", has_text="by Model")
    menu.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Cost by project")).to_be_visible()
    assert "by=project" in page.url
    page.locator("summary", has_text="Filter").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    box = page.get_by_role("checkbox").first
    box.focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Apply").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".mw-chip")).to_contain_text("Model is")
    assert "filter[model]=" in page.url


def test_the_tail_shows_what_arrives_and_stops(product: Product, visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in)
    page = one.page
    one.go(org + "events?model=claude-haiku-4-5")
    page.get_by_role("button", name="Follow").click()
    expect(page.locator("[data-follow-state]")).to_have_text("Following")
    product.send(product.api_key, session_id="seen-in-the-tail")
    product.send(product.api_key, session_id="another-model", model="claude-sonnet-4-5")
    expect(page.locator("[data-follow-rows]")).to_contain_text("seen-in-the-tail", timeout=20_000)
    assert "another-model" not in page.locator("[data-follow-rows]").inner_text()
    assert one.axe() == []
    one.keep("events-following")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("[data-follow-state]")).to_have_text("Stopped")
    page.locator("[data-follow-rows] a").first.click()
    expect(page.get_by_role("heading", name="What it cost")).to_be_visible()


def test_without_scripts_everything_can_be_asked(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in, scripts=False)
    page = one.page
    one.go(org + "events")
    page.get_by_label("Status").select_option("error")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("main tbody tr").first).to_be_visible()
    assert "status=error" in page.url
    one.go(org + "usage?add=model")
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".mw-chip")).to_contain_text("Model is")

"""The frame of the pages in Chromium: palette, saved views, notifications, keys; light, dark and on a phone."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, Product, Visit, at_home

pytestmark = [pytest.mark.chromium, pytest.mark.processes]

LOOKS = [("light", 1440), ("dark", 375)]


def reads_well(one: Visit, name: str) -> None:
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(name)


def find(page: Page, text: str) -> None:
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Search or jump to")).to_be_focused()
    page.keyboard.type(text)


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_what_opens_over_a_page_reads_well(visit: Open, signed_in: Any, theme: str, width: int) -> None:
    one, org = at_home(visit, signed_in, theme=theme, width=width)
    page = one.page
    one.go(org + "costs")
    find(page, "ma")
    expect(page.locator("#cmd [data-found]").first).to_be_visible()
    reads_well(one, f"palette-{theme}-{width}")
    page.keyboard.press("Escape")
    page.locator("[data-bell]").click()
    expect(page.locator("#drawer [data-drawer-n]")).to_be_visible()
    reads_well(one, f"drawer-{theme}-{width}")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    reads_well(one, f"keys-{theme}-{width}")
    page.keyboard.press("Escape")
    page.locator("main summary", has_text="Views").click()
    expect(page.get_by_role("link", name="All saved views")).to_be_visible()
    reads_well(one, f"views-menu-{theme}-{width}")
    page.get_by_role("link", name="Save this view").click()
    expect(page.get_by_role("dialog", name="Save this view")).to_be_visible()
    reads_well(one, f"view-save-{theme}-{width}")


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_each_page_of_the_frame_reads_well(visit: Open, signed_in: Any, theme: str, width: int) -> None:
    one, org = at_home(visit, signed_in, theme=theme, width=width)
    for path in ("views?page=usage&query=by%3Dteam", "notifications", "search?q=ma", "keyboard"):
        one.go(org + path)
        expect(one.page.locator("main h1")).to_be_visible()
        reads_well(one, f"{path.split('?')[0]}-page-{theme}-{width}")


def test_a_project_is_found_and_opened_with_the_keyboard_and_comes_first_then(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in)
    page = one.page
    one.go(org + "projects")
    name = page.locator("main tbody th a, main .mw-name").first.inner_text().strip()
    one.go(org + "costs")
    find(page, name[: max(4, len(name) - 1)].upper())
    option = page.locator("#cmd [data-found]", has_text=name).first
    expect(option).to_be_visible()
    for _ in range(12):
        if option.get_attribute("aria-selected") == "true":
            break
        page.keyboard.press("ArrowDown")
    field = page.get_by_role("combobox", name="Search or jump to")
    expect(field).to_have_attribute("aria-activedescendant", option.get_attribute("id") or "")
    page.keyboard.press("Enter")
    expect(page.locator("main h1")).to_contain_text(name)
    # The heading stands there before the page's scripts have run.
    page.wait_for_load_state()
    page.keyboard.press("Control+k")
    expect(page.locator("#cmd").get_by_role("option").first).to_contain_text(name)
    page.keyboard.type("no such thing anywhere")
    expect(page.locator("[data-cmd-n]")).to_have_text("Nothing found")


def test_only_the_answer_to_what_stands_there_is_shown(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in)
    page = one.page
    one.go(org + "costs")

    def slowly(route: Any) -> None:
        if "q=ma&" in route.request.url + "&":
            page.wait_for_timeout(600)
        route.continue_()

    page.route("**/search/list?*", slowly)
    find(page, "ma")
    page.wait_for_timeout(250)
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("members")
    found = page.locator("#cmd [data-found]")
    expect(found.first).to_contain_text("Members")
    page.wait_for_timeout(800)
    assert found.count()
    assert all("member" in words.lower() for words in found.all_inner_texts())


def test_keys_go_to_places_and_rest_while_somebody_types(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in)
    page = one.page
    one.go(org)
    page.keyboard.press("g")
    page.keyboard.press("u")
    expect(page.get_by_role("heading", name="Usage", exact=True)).to_be_visible()
    page.keyboard.press("[")
    page.wait_for_url("**period=7d*")
    page.keyboard.press("]")
    expect(page.locator("main summary", has_text="Last 28 days")).to_be_visible()
    theme = page.locator("html").get_attribute("data-theme")
    page.keyboard.press("t")
    expect(page.locator("html")).not_to_have_attribute("data-theme", theme or "")
    page.keyboard.press("Control+t")
    page.keyboard.press("/")
    expect(page.get_by_role("combobox", name="Search or jump to")).to_be_focused()
    page.keyboard.type("gu?t")
    expect(page.get_by_role("combobox", name="Search or jump to")).to_have_value("gu?t")
    page.keyboard.press("Escape")
    one.go(org + "search")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("gh?")
    expect(page.get_by_role("searchbox")).to_have_value("gh?")
    # Off: nothing but Ctrl K is left.
    page.get_by_role("heading", name="Search").click()
    page.keyboard.press("?")
    page.get_by_role("checkbox", name="Single-key shortcuts").press("Space")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.keyboard.press("g")
    page.keyboard.press("h")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("heading", name="Search")).to_be_visible()


def test_a_view_is_saved_and_applied_with_the_keyboard(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in)
    page = one.page
    one.go(org + "usage?by=team&period=7d")
    page.locator("main summary", has_text="Views").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Save this view").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("Teams this week")
    page.keyboard.press("Enter")
    expect(page.locator("main summary", has_text="Teams this week")).to_be_visible()
    expect(page.get_by_role("heading", name="Cost by team")).to_be_visible()
    one.go(org + "usage")
    page.locator("main summary", has_text="Views").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Cost by team")).to_be_visible()
    page.locator("main summary", has_text="Teams this week").click()
    page.get_by_role("button", name="Open Usage with it, for me").click()
    expect(page.locator("#nav a", has_text="Usage")).to_have_attribute("href", re.compile(r"by=team"))
    one.go(org + "views")
    page.locator("main summary", has_text="Change").first.click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("main")).not_to_contain_text("Teams this week")


def test_notifications_arrive_and_are_read(product: Product, visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in)
    page = one.page
    one.go(org + "costs")
    bell = page.locator("[data-bell]")
    before = int((bell.get_attribute("aria-label") or "0").split(",")[1].split()[0])
    product.send(product.api_key, model="a-model-nobody-priced")
    expect(bell).to_have_attribute("aria-label", f"Notifications, {before + 1} unread", timeout=30_000)
    expect(page.locator("[data-bell-said]")).to_contain_text("a-model-nobody-priced has no price")
    page.keyboard.press("n")
    row = page.locator("#drawer li", has_text="a-model-nobody-priced")
    row.get_by_role("button", name="Mark read").focus()
    page.keyboard.press("Enter")
    expect(row.get_by_role("button")).to_have_count(0)
    expect(bell).to_have_attribute("aria-label", f"Notifications, {before} unread")
    page.get_by_role("checkbox", name="Only unread").press("Space")
    expect(row).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).not_to_be_visible()


def test_without_scripts_everything_is_a_page(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in, scripts=False)
    page = one.page
    one.go(org + "usage?by=project")
    page.get_by_role("link", name="Search or jump to").click()
    page.get_by_role("searchbox").fill("member")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("main").get_by_role("link", name="Members", exact=True)).to_be_visible()
    page.locator("[data-bell]").click()
    expect(page.get_by_role("heading", name="Notifications")).to_be_visible()
    one.go(org + "usage?by=project")
    page.locator("main summary", has_text="Views").click()
    page.get_by_role("link", name="Save this view").click()
    page.get_by_label("Name").fill("Projects, without scripts")
    page.get_by_role("button", name="Save the view").click()
    expect(page.locator("main summary", has_text="Projects, without scripts")).to_be_visible()
    one.go(org + "keyboard")
    expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_visible()

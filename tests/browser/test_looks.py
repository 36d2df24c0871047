"""The guide, the components, errors and paper in Chromium: light, dark, a phone; what is printed and what is not."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ARTIFACTS, Open, at_home
from tests.browser.test_usage import LOOKS

pytestmark = [pytest.mark.chromium, pytest.mark.processes]

NOT_ON_PAPER = ".mw-nav, .mw-top, .mw-toasts, .mw-skip, main .mw-b, main .mw-ib, main .mw-f, main .mw-seg, .mw-help"
LIGHT_INK = "rgb(20, 24, 29)"


@pytest.mark.parametrize(
    ("path", "theme", "width"),
    [("/guide/usage", "light", 1440), ("/guide/?q=price", "dark", 1024), ("/guide/imports", "light", 375)],
)
def test_the_guide_fits_and_reads_well(visit: Open, path: str, theme: str, width: int) -> None:
    one = visit(theme=theme, width=width)
    one.go(path)
    expect(one.page.locator("main h1")).to_be_visible()
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"guide-{path.strip('/').replace('/', '-').replace('?q=', 'search-')}-{theme}-{width}")


def test_the_guide_is_searched_and_left_without_scripts(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in, scripts=False)
    one.go(org + "settings/members")
    one.page.get_by_role("link", name="Guide: Members").click()
    assert one.page.url.endswith("/guide/members")
    one.page.get_by_label("Search the guide").fill("revoke key")
    one.page.get_by_role("button", name="Search").click()
    one.page.get_by_role("link", name="Revoke a key").first.click()
    expect(one.page.get_by_role("heading", name="Revoke a key")).to_be_in_viewport()


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_all_components_fit_and_read_well(visit: Open, theme: str, width: int) -> None:
    one = visit(theme=theme, width=width)
    one.go("/dev/components")
    expect(one.page.locator("[data-chart][data-drawn]")).to_have_count(1)
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"components-{theme}-{width}")


def test_a_dialog_holds_the_focus_and_gives_it_back(visit: Open) -> None:
    one = visit()
    page = one.page
    one.go("/dev/components")
    opener = page.get_by_role("button", name="End the price")
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="End the price?")
    expect(dialog).to_be_visible()
    assert one.axe() == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


@pytest.mark.parametrize(
    ("path", "theme"),
    [
        ("", "dark"),
        ("usage?by=project", "light"),
        ("costs?period=28d", "dark"),
        ("events", "dark"),
        ("settings/members", "light"),
    ],
)
def test_paper_shows_the_page_alone_and_in_light(visit: Open, signed_in: Any, path: str, theme: str) -> None:
    one, org = at_home(visit, signed_in, theme=theme)
    page = one.page
    one.go(org + path)
    expect(page.locator("[data-chart][data-drawn]")).to_have_count(page.locator("[data-chart]").count())
    page.emulate_media(media="print", color_scheme=theme)
    heading = page.locator(".mw-printed")
    expect(heading).to_be_visible()
    expect(heading).to_contain_text("Harbor Freight Lab")
    expect(heading).to_contain_text("Printed")
    expect(page.locator("main h1")).to_be_visible()
    assert page.locator(NOT_ON_PAPER).locator("visible=true").count() == 0
    assert page.locator("main h1").evaluate("(node) => getComputedStyle(node).color") == LIGHT_INK
    assert page.locator(".mw-t thead").first.evaluate("(n) => getComputedStyle(n).display") == "table-header-group"


def test_printing_opens_short_tables_draws_charts_in_light_and_puts_all_back(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in, theme="dark")
    page = one.page
    one.go(org + "usage?by=project")
    expect(page.locator("[data-chart][data-drawn]")).to_have_count(1)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("html").get_attribute("data-theme") == "light"
    assert page.locator("details.mw-fold[open]").count() == 1
    assert page.locator("[data-chart] canvas").first.evaluate("(node) => node.getBoundingClientRect().width") <= 700
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.locator("details.mw-fold[open]").count() == 0
    assert page.locator("[data-chart] canvas").first.evaluate("(node) => node.getBoundingClientRect().width") > 700


@pytest.mark.parametrize("name", ["home", "guide"])
def test_pages_become_files_of_paper(visit: Open, signed_in: Any, name: str) -> None:
    one, org = at_home(visit, signed_in, theme="dark")
    one.go({"home": org, "guide": "/guide/imports"}[name])
    one.page.wait_for_load_state("networkidle")
    ARTIFACTS.mkdir(exist_ok=True)
    made = Path(ARTIFACTS / f"paper-{name}.pdf")
    one.page.pdf(path=made, format="A4", print_background=True)
    assert made.read_bytes().startswith(b"%PDF")
    assert made.stat().st_size > 10_000


@pytest.mark.parametrize(("theme", "width"), LOOKS[1:])
def test_a_missing_page_keeps_the_organisation_around_it(visit: Open, signed_in: Any, theme: str, width: int) -> None:
    one, org = at_home(visit, signed_in, theme=theme, width=width)
    one.go(org + "nowhere")
    expect(one.page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    expect(one.page.get_by_role("link", name="Go to Home")).to_be_visible()
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"missing-{theme}-{width}")
    one.complaints = [text for text in one.complaints if "404" not in text]

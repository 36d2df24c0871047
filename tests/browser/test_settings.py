"""Settings and Connect in Chromium: light and dark, three widths, with and without scripts."""

import subprocess
from typing import Any
from urllib.error import HTTPError

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, Product, at_home

pytestmark = [pytest.mark.chromium, pytest.mark.processes]

PAGES = [
    "settings", "settings/security", "settings/members", "settings/roles", "settings/roles/new", "settings/access",
    "settings/teams", "settings/keys", "settings/tags", "settings/prices", "settings/audit",
    "settings/audit/streams", "connect",
]  # fmt: skip
LOOKS = [("light", 1440), ("dark", 1024), ("light", 375)]


@pytest.mark.parametrize(("theme", "width"), LOOKS)
@pytest.mark.parametrize("path", PAGES)
def test_each_page_fits_and_reads_well(visit: Open, signed_in: Any, path: str, theme: str, width: int) -> None:
    one, org = at_home(visit, signed_in, theme=theme, width=width)
    one.go(org + path)
    expect(one.page.locator("main h1")).to_be_visible()
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"{path.replace('/', '-')}-{theme}-{width}")


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_a_member_and_a_team_read_well(visit: Open, signed_in: Any, theme: str, width: int) -> None:
    one, org = at_home(visit, signed_in, theme=theme, width=width)
    for name in ("members", "teams"):
        one.go(f"{org}settings/{name}")
        one.page.locator("main tbody a").nth(1).click()
        expect(one.page.get_by_role("heading", name="Name and place" if name == "teams" else "Role")).to_be_visible()
        assert one.overflow() <= 0
        assert one.axe() == []
        one.keep(f"settings-one-of-{name}-{theme}-{width}")


def test_a_key_made_on_connect_sends_and_its_event_shows(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in)
    page = one.page
    one.go(f"{org}connect")
    page.get_by_label("Name of the key").fill("browser")
    page.get_by_role("button", name="Make the key").click()
    expect(page.locator(".mw-keybox code")).to_contain_text("mw_")
    page.get_by_role("tab", name="curl").click()
    command = page.locator("#snip-curl pre").inner_text()
    one.keep("connect-waiting")
    subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, check=True)
    expect(page.get_by_text("We saw your event")).to_be_visible(timeout=20_000)
    assert one.axe() == []
    one.keep("connect-arrived")


def test_a_key_is_made_used_replaced_and_revoked(product: Product, visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in)
    page = one.page
    one.go(f"{org}projects")
    page.get_by_label("Name").fill("turns over")
    page.get_by_role("button", name="Make the project").click()
    page.get_by_label("Name").fill("nightly")
    page.get_by_label("Environment").select_option("staging")
    page.get_by_role("button", name="Make the key").click()
    token = page.locator(".mw-keybox code").inner_text()
    assert product.send(token) == 202
    page.locator("summary", has_text="Replace").click()
    page.get_by_label("This one").select_option("3600")
    one.keep("key-replace-menu")
    page.set_viewport_size({"width": 375, "height": 900})
    assert one.overflow() <= 0
    one.keep("key-replace-menu-375")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.get_by_role("button", name="Replace nightly").click()
    expect(page.get_by_text("Key replaced")).to_be_visible()
    assert one.axe() == []
    one.keep("key-replaced")
    fresh = page.locator(".mw-keybox code").inner_text()
    assert product.send(token) == product.send(fresh) == 202
    page.get_by_role("link", name="nightly", exact=True).first.click()
    page.locator("summary", has_text="Revoke").click()
    page.get_by_role("button", name="Revoke nightly").click()
    expect(page.get_by_text("The key is revoked")).to_be_visible()
    with pytest.raises(HTTPError, match="401"):
        product.send(fresh)


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_a_project_and_a_key_read_well(visit: Open, signed_in: Any, theme: str, width: int) -> None:
    one, org = at_home(visit, signed_in, theme=theme, width=width)
    one.go(f"{org}projects")
    one.page.locator("main tbody a.mw-name").first.click()
    for tab in ("Keys", "Usage", "Settings"):
        one.page.locator(".mw-set-tabs").get_by_role("link", name=tab, exact=True).click()
        assert one.overflow() <= 0, tab
        assert one.axe() == []
        one.keep(f"project-{tab.lower()}-{theme}-{width}")
    one.page.locator(".mw-set-tabs").get_by_role("link", name="Keys", exact=True).click()
    one.page.locator("main tbody a.mw-name").first.click()
    expect(one.page.get_by_role("heading", name="Facts")).to_be_visible()
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"key-{theme}-{width}")


def test_wrong_forms_say_why_and_read_well(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in)
    page = one.page
    one.go(f"{org}settings/members")
    page.get_by_label("E-mail address").fill("nobody")
    page.get_by_role("button", name="Invite", exact=True).click()
    expect(page.get_by_text("Enter a valid email address")).to_be_visible()
    one.complaints[:] = [line for line in one.complaints if "400" not in line]
    assert one.axe() == []
    one.keep("settings-members-refused")
    one.go(f"{org}settings/prices?model=claude-haiku-4-5#own")
    page.get_by_label("Source").fill("")
    page.get_by_role("button", name="Set the price").click()
    expect(page.locator(".mw-err").first).to_be_visible()
    one.complaints[:] = [line for line in one.complaints if "400" not in line]
    assert one.axe() == []
    one.keep("settings-prices-refused")


def test_settings_work_without_scripts(product: Product, visit: Open) -> None:
    one = visit(scripts=False)
    page = one.page
    one.go("/login")
    page.get_by_label("E-mail address").fill(product.email)
    page.get_by_label("Password").fill(product.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("link", name="Settings", exact=True).click()
    page.get_by_role("link", name="Tags", exact=True).click()
    page.get_by_role("textbox", name="Key").fill("without_scripts")
    page.get_by_role("button", name="Add the key").click()
    expect(page.get_by_role("rowheader", name="without_scripts")).to_be_visible()
    page.get_by_role("link", name="Connect", exact=True).click()
    expect(page.get_by_role("heading", name="OpenTelemetry Collector")).to_be_visible()
    expect(page.get_by_role("link", name="Look again")).to_be_visible()
    one.keep("connect-without-scripts")

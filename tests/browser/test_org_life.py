"""An invitation from the mail to the first page, and an organisation deleted and brought back, in Chromium."""

import re
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, Product, Visit

pytestmark = [pytest.mark.chromium, pytest.mark.processes]
PASSWORD = "seven shuttles, one weft"


def sign_in(one: Visit, product: Product) -> None:
    one.go("/login")
    one.page.get_by_label("E-mail address").fill(product.email)
    one.page.get_by_label("Password").fill(product.password)
    one.page.get_by_role("button", name="Sign in", exact=True).click()
    one.page.wait_for_url("**/o/**")


def link_in_mail(one: Visit, address: str) -> str:
    """The link of the newest invitation to an address, from the development mailbox."""
    one.go("/dev/mail")
    one.page.get_by_role("row", name=address).locator("a.mw-name").first.click()
    found = re.search(r"/invite/[\w-]+", one.page.locator(".mw-mail-text").inner_text())
    assert found is not None
    return found[0]


def looks(one: Visit, name: str) -> None:
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(name)


@pytest.mark.parametrize(
    ("theme", "width", "scripts"), [("light", 1440, True), ("dark", 375, True), ("light", 375, False)]
)
def test_somebody_is_invited_signs_up_and_is_in(
    visit: Open, product: Product, theme: str, width: int, scripts: bool
) -> None:
    address = f"{uuid4().hex[:10]}@example.com"
    admin = visit(theme=theme, width=width, scripts=scripts)
    sign_in(admin, product)
    org = re.sub(r"^https?://[^/]+", "", admin.page.url)
    admin.go(f"{org}settings/members")
    admin.page.get_by_label("E-mail address").fill(address)
    admin.page.get_by_role("textbox", name="Message").fill("We count what we use. Do come.")
    admin.page.get_by_role("button", name="Invite", exact=True).click()
    admin.go(f"{org}settings/members/invitations")
    expect(admin.page.get_by_role("rowheader", name=address)).to_be_visible()
    name = f"{theme}-{width}{'' if scripts else '-without-scripts'}"
    if scripts:
        looks(admin, f"invitations-{name}")
    link = link_in_mail(admin, address)

    guest = visit(theme=theme, width=width, scripts=scripts)
    guest.go(link)
    expect(guest.page).to_have_url(re.compile(r"/invite$"))
    expect(guest.page.get_by_label("E-mail address")).to_have_value(address)
    if scripts:
        looks(guest, f"invite-{name}")
    guest.page.get_by_label("Your name").fill("Grace")
    guest.page.get_by_label("Password").fill(PASSWORD)
    guest.page.get_by_role("button", name="Make the account and join").click()
    guest.page.wait_for_url("**/o/**")

    admin.go(link)
    expect(admin.page.get_by_role("heading", name="This invitation was used")).to_be_visible()
    admin.complaints[:] = [line for line in admin.complaints if "410" not in line]


def test_an_invitation_of_somebody_else_says_so(visit: Open, product: Product, signed_in: Any) -> None:
    one = visit(state=signed_in, width=375)
    sign_in_home = visit()
    sign_in(sign_in_home, product)
    org = re.sub(r"^https?://[^/]+", "", sign_in_home.page.url)
    sign_in_home.go(f"{org}settings/members")
    address = f"{uuid4().hex[:10]}@example.com"
    sign_in_home.page.get_by_label("E-mail address").fill(address)
    sign_in_home.page.get_by_role("button", name="Invite", exact=True).click()
    link = link_in_mail(sign_in_home, address)
    one.go(link)
    expect(one.page.get_by_role("heading", name="This invitation is not for this account")).to_be_visible()
    looks(one, "invite-other-375")


def test_lines_are_looked_through_before_anybody_is_asked(visit: Open, signed_in: Any) -> None:
    one = visit(state=signed_in, width=375, theme="dark")
    one.go("/")
    org = re.sub(r"^https?://[^/]+", "", one.page.url)
    one.go(f"{org}settings/members/invite")
    looks(one, "invite-many-dark-375")
    one.page.get_by_label("Or lines").fill(f"{uuid4().hex[:8]}@example.com,viewer\nnobody,viewer\n=x@example.com,owner")
    one.page.get_by_role("button", name="Look through the lines").click()
    expect(one.page.get_by_role("heading", name="1 of 3 can be invited")).to_be_visible()
    looks(one, "invite-preview-dark-375")
    one.page.get_by_role("button", name="Invite 1 person").click()
    expect(one.page.get_by_role("heading", name="Invitations")).to_be_visible()


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 375)])
def test_an_organisation_is_exported_deleted_and_brought_back(
    visit: Open, product: Product, theme: str, width: int
) -> None:
    one = visit(theme=theme, width=width)
    page = one.page
    sign_in(one, product)
    one.go("/welcome?new=1")
    page.get_by_label("Name").fill(f"Passing {theme}")
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/o/passing-*/**")
    slug = page.url.split("/o/")[1].split("/")[0]
    one.go(f"/o/{slug}/settings/danger")
    looks(one, f"danger-{theme}-{width}")
    page.get_by_role("button", name="Export", exact=True).click()
    for _ in range(60):
        if page.get_by_role("link", name="Download").count():
            break
        page.wait_for_timeout(500)
        one.go(f"/o/{slug}/settings/danger")
    with page.expect_download() as fetched:
        page.get_by_role("link", name="Download").click()
    assert fetched.value.suggested_filename.endswith(".zip")
    one.keep(f"danger-exported-{theme}-{width}")
    page.get_by_label(f"Type {slug} to confirm").fill(slug)
    page.get_by_role("button", name=f"Delete Passing {theme}").click()
    expect(page.get_by_role("heading", name="Your organisations")).to_be_visible()
    looks(one, f"organisations-deleted-{theme}-{width}")
    page.get_by_role("button", name=f"Restore Passing {theme}").click()
    expect(page.get_by_text("is back, as it was")).to_be_visible()
    page.get_by_role("link", name=f"Passing {theme}").click()
    expect(page).to_have_url(re.compile(f"/o/{slug}/"))

"""A forgotten password, and the list of sign-ins, in Chromium."""

import re
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, Visit

pytestmark = [pytest.mark.chromium, pytest.mark.processes]

PASSWORD = "seven shuttles, one weft"
NEW = "eight heddles, no treadle"


def join(one: Visit, address: str) -> None:
    """A new person, signed in."""
    one.go("/signup")
    one.page.get_by_label("Your name").fill("Ada")
    one.page.get_by_label("E-mail address").fill(address)
    one.page.get_by_label("Password").fill(PASSWORD)
    one.page.get_by_role("button", name="Make the account").click()
    one.page.wait_for_url("**/welcome*")


def enter(one: Visit, address: str, password: str) -> None:
    one.go("/login")
    one.page.get_by_label("E-mail address").fill(address)
    one.page.get_by_label("Password").fill(password)
    one.page.get_by_role("button", name="Sign in", exact=True).click()


def link_in_mail(one: Visit, address: str) -> str:
    """The link of the mail for a new password, which a worker sends, from the development mailbox."""
    row = one.page.get_by_role("row", name=address).filter(has_text=re.compile("password", re.IGNORECASE))
    for _ in range(40):
        one.go("/dev/mail")
        if row.count():
            break
        one.page.wait_for_timeout(250)
    row.locator("a.mw-name").first.click()
    found = re.search(r"/reset/[\w-]+", one.page.locator(".mw-mail-text").inner_text())
    assert found is not None
    return found[0]


def looks(one: Visit, name: str) -> None:
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(name)


def test_who_forgot_their_password_is_mailed_a_link_and_comes_in_by_a_new_one(visit: Open) -> None:
    address = f"{uuid4().hex[:10]}@example.com"
    before, one = visit(), visit(theme="dark", width=375)
    join(before, address)
    page = one.page
    one.go("/login")
    page.get_by_role("link", name="Forgotten?").click()
    looks(one, "forgot-dark-375")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_role("button", name="Send the mail").click()
    expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    looks(one, "mailed-dark-375")
    link = link_in_mail(one, address)
    one.go(link)
    page.get_by_label("New password").fill("levkovvova")
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_text("known to have leaked")).to_be_visible()
    one.complaints[:] = [line for line in one.complaints if "400" not in line]
    looks(one, "reset-refused-dark-375")
    page.get_by_label("New password").fill(NEW)
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_text("Your password is set")).to_be_visible()
    enter(one, address, PASSWORD)
    expect(page.get_by_text("The e-mail address or the password is not right")).to_be_visible()
    one.complaints[:] = [line for line in one.complaints if "400" not in line]
    enter(one, address, NEW)
    page.wait_for_url("**/welcome*")
    # Whoever was signed in by the old password is not any more.
    before.go("/account")
    assert "/login" in before.page.url
    one.go(link)
    expect(page.get_by_role("heading", name="This link is over")).to_be_visible()
    one.complaints[:] = [line for line in one.complaints if "404" not in line]
    looks(one, "link-over-dark-375")


def test_one_sign_in_is_ended_and_then_all_others(visit: Open) -> None:
    address = f"{uuid4().hex[:10]}@example.com"
    one, second, third = visit(width=375), visit(), visit()
    join(one, address)
    for other in (second, third):
        enter(other, address, PASSWORD)
        other.page.wait_for_url("**/welcome*")
    one.go("/account/sessions")
    rows = one.page.locator("main tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.filter(has_text="This one")).to_have_count(1)
    end = rows.nth(1).get_by_role("button", name="End")
    expect(end).to_be_in_viewport(ratio=1)
    looks(one, "sign-ins-light-375")
    end.click()
    expect(rows).to_have_count(2)
    for other in (second, third):
        other.go("/account")
    assert sorted("/login" in other.page.url for other in (second, third)) == [False, True]
    one.page.get_by_role("button", name="End all others").click()
    expect(rows).to_have_count(1)
    expect(one.page.get_by_role("button", name="End all others")).to_have_count(0)
    for other in (second, third):
        other.go("/account")
        assert "/login" in other.page.url
    one.go("/account/sessions")
    expect(rows).to_have_count(1)

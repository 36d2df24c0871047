"""Security keys and passkeys in Chromium, by its virtual authenticator: enrolled, and signed in with."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, Product, Visit

pytestmark = [pytest.mark.chromium, pytest.mark.processes]

PASSWORD = "a shed of many shuttles"


def authenticator(page: Page, **options: Any) -> tuple[Any, str]:
    """An authenticator that is plugged in and says yes to everything; and the line to it."""
    line = page.context.new_cdp_session(page)
    line.send("WebAuthn.enable")
    made = line.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2", "transport": "usb", "hasResidentKey": False, "hasUserVerification": False,
                "isUserVerified": False, "automaticPresenceSimulation": True, **options,
            }
        },
    )  # fmt: skip
    return line, made["authenticatorId"]


def platform(page: Page) -> tuple[Any, str]:
    """One that is built in, keeps passkeys and knows its person."""
    return authenticator(page, transport="internal", hasResidentKey=True, hasUserVerification=True, isUserVerified=True)


def join(one: Visit, name: str) -> None:
    """A new person, signed in."""
    one.go("/signup")
    one.page.get_by_label("Your name").fill(name)
    one.page.get_by_label("E-mail address").fill(f"{name.lower()}@factors.example")
    one.page.get_by_label("Password").fill(PASSWORD)
    one.page.get_by_role("button", name="Make the account").click()
    one.page.wait_for_url("**/welcome*")


def leave(one: Visit) -> None:
    one.go("/logout")
    one.page.get_by_role("button", name="Sign out").click()
    one.page.wait_for_url(one.url + "/")


def keep_codes(one: Visit) -> list[str]:
    expect(one.page.get_by_role("heading", name="Keep your recovery codes")).to_be_visible()
    codes = one.page.locator(".mw-codes code").all_inner_texts()
    one.page.get_by_role("link", name="I have kept them").click()
    return codes


def test_a_passkey_is_made_and_signs_in_alone(visit: Open, product: Product) -> None:
    one = visit()
    platform(one.page)
    join(one, "Pia")
    one.go("/account/security")
    assert one.axe() == []
    one.page.get_by_role("link", name="Passkey").click()
    one.page.get_by_label("Name").fill("This computer")
    one.page.get_by_role("button", name="Make the passkey").click()
    assert len(keep_codes(one)) == 10
    expect(one.page.get_by_role("rowheader", name=re.compile("This computer"))).to_be_visible()
    one.keep("account-security")
    leave(one)
    one.go("/login")
    one.keep("login-with-passkey")
    assert one.axe() == []
    one.page.get_by_role("button", name="Sign in with a passkey").click()
    one.page.wait_for_url("**/welcome*")
    one.go("/account/security")
    expect(one.page.get_by_role("rowheader", name=re.compile("This computer"))).to_be_visible()


def test_a_security_key_is_the_second_step(visit: Open, product: Product) -> None:
    one = visit(width=375, theme="dark")
    authenticator(one.page)
    join(one, "Sol")
    one.go("/account/security/keys/security_key")
    one.page.get_by_label("Name").fill("Blue key")
    one.keep("security-key-375-dark")
    assert one.overflow() <= 0
    one.page.get_by_role("button", name="Use the key").click()
    codes = keep_codes(one)
    assert one.overflow() <= 0
    one.keep("account-security-375-dark")
    # The same key once more: excluded, and said.
    one.go("/account/security/keys/security_key")
    one.page.get_by_role("button", name="Use the key").click()
    expect(one.page.get_by_text("This key is enrolled already.")).to_be_visible()
    leave(one)
    one.go("/login")
    one.page.get_by_label("E-mail address").fill("sol@factors.example")
    one.page.get_by_label("Password").fill(PASSWORD)
    one.page.get_by_role("button", name="Sign in", exact=True).click()
    one.page.wait_for_url("**/login/code*")
    assert one.axe() == []
    one.keep("second-step-375-dark")
    one.page.get_by_role("button", name="Use your security key").click()
    one.page.wait_for_url("**/welcome*")
    assert len(codes) == 10


def test_nothing_that_was_confirmed_nothing_that_happens(visit: Open, product: Product) -> None:
    one = visit()
    line, key = platform(one.page)
    join(one, "Noa")
    leave(one)
    line.send("WebAuthn.setUserVerified", {"authenticatorId": key, "isUserVerified": False})
    one.go("/login")
    one.page.get_by_role("button", name="Sign in with a passkey").click()
    expect(one.page.get_by_text("Nothing was confirmed.")).to_be_visible()
    assert one.page.url.endswith("/login")

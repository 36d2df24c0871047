"""An organisation's page in the staff admin, in Chromium: from the first account to a suspension and back."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.conf import settings
from django.utils import timezone
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Open, Product

pytestmark = [pytest.mark.chromium, pytest.mark.processes]

EMAIL = "olga@mindweave.test"
LOOKS = [("light", 1440), ("dark", 1440), ("light", 375), ("dark", 375)]


@pytest.fixture(scope="module")
def staff(product: Product, chromium: Browser) -> Any:
    """The cookies of a member of staff: made by the command, signed in, with a second factor enrolled."""
    env = {**os.environ, "MINDWEAVE_DATA_DIR": product.home}
    for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY"):
        env.pop(name, None)
    made = subprocess.run(
        [sys.executable, "manage.py", "create_staff", EMAIL, "--name", "Olga"],
        cwd=settings.BASE_DIR, env=env, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{product.url}/admin/")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(made.stdout.split("shown this once: ")[1].strip())
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/admin/enrol/**")
    secret = page.locator("p code").inner_text()
    step = int(timezone.now().timestamp()) // 30
    page.get_by_role("textbox", name="Code").fill(format_hotp_value(hotp_value(secret, step)))
    page.get_by_role("button", name="Enrol").click()
    expect(page.get_by_text("Keep these recovery codes")).to_be_visible()
    state = context.storage_state()
    context.close()
    return state


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_the_page_of_an_organisation_reads_well(
    product: Product, visit: Open, staff: Any, theme: str, width: int
) -> None:
    one = visit(state=staff, theme=theme, width=width)
    one.go(f"/admin/accounts/organization/{product.org_id}/change/")
    for title in ("Usage", "Members", "Projects", "Teams", "Last entries of the audit trail"):
        expect(one.page.locator("#content").get_by_role("heading", name=title, exact=True)).to_be_visible()
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"staff-organisation-{theme}-{width}")
    one.page.get_by_role("link", name="Suspend…").click()
    expect(one.page.get_by_label("Reason")).to_be_visible()
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(f"staff-suspend-{theme}-{width}")


def test_an_organisation_is_suspended_with_a_reason_and_resumed(
    product: Product, visit: Open, staff: Any, signed_in: Any
) -> None:
    one, theirs = visit(state=staff), visit(state=signed_in)
    page = one.page
    one.go(f"/admin/accounts/organization/{product.org_id}/change/")
    page.get_by_role("link", name="Suspend…").click()
    page.get_by_role("button", name="Suspend").click()
    expect(page.get_by_text("Say why.")).to_be_visible()
    assert one.axe() == []
    one.keep("staff-suspend-without-a-reason")
    page.get_by_label("Reason").fill("Unpaid since March")
    page.get_by_role("button", name="Suspend").click()
    try:
        expect(page.get_by_text("This organisation is suspended")).to_be_visible()
        expect(page.get_by_text(re.compile("since .* by olga@mindweave.test: Unpaid since March"))).to_be_visible()
        assert one.axe() == []
        one.keep("staff-organisation-suspended")
        theirs.go("/")
        expect(theirs.page.get_by_text("This organisation is suspended")).to_be_visible()
        assert theirs.axe() == []
        theirs.keep("suspended-home")
    finally:
        page.get_by_role("link", name="Resume…").click()
        page.get_by_label("Reason").fill("Paid")
        page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("link", name="Suspend…")).to_be_visible()
    # A form sent without its reason is answered with 400, which Chromium writes to the console.
    one.complaints[:] = [each for each in one.complaints if "400" not in each]
    theirs.go("/")
    expect(theirs.page.get_by_text("This organisation is suspended")).to_have_count(0)


def test_staff_enter_in_a_members_place_and_every_page_says_so(product: Product, visit: Open, staff: Any) -> None:
    one = visit(state=staff)
    page = one.page
    one.go(f"/admin/accounts/organization/{product.org_id}/change/")
    page.get_by_role("region", name="Members").get_by_role("link").first.click()
    page.get_by_role("link", name="Enter in their place").click()
    assert one.axe() == []
    one.keep("staff-enter")
    page.get_by_role("button", name="Enter", exact=True).click()
    expect(page.get_by_text("This field is required")).to_be_visible()
    page.get_by_label("Reason").fill("Ticket 4711: their costs look wrong")
    page.get_by_role("button", name="Enter", exact=True).click()
    page.wait_for_url("**/o/**")
    # A form sent without its reason is answered with 400, which Chromium writes to the console.
    one.complaints[:] = [each for each in one.complaints if "400" not in each]
    banner = page.get_by_role("region", name="In somebody's place")
    for theme, width in LOOKS:
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        page.set_viewport_size({"width": width, "height": 900})
        page.reload()
        expect(banner).to_contain_text("Ticket 4711")
        assert one.overflow() <= 0
        assert one.axe() == []
        one.keep(f"stay-{theme}-{width}")
    banner.get_by_role("button", name="End now").click()
    page.wait_for_url(f"**/admin/accounts/organization/{product.org_id}/change/")

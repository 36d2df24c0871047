"""The pictures of the guide, taken of the product as it is: ``make pictures``.

Starts MindWeave with its demonstration, fills in what a guide has to show (a role of one's own, invitations, single
sign-on, second factors), walks to each page in Chromium and writes ``docs/img/<name>.webp``. Names given on the command
line take those alone. Look at each one before it is committed.
"""

import base64
import hmac
import json
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import conftest
from tests.browser.conftest import Product
from tests.chromium import launch

__all__ = ["main"]

IMAGES = Path(__file__).parents[2] / "docs/img"
_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
# Of WebP: the text of a page stays sharp, and a picture takes 30 to 70 KB.
QUALITY = 0.8
_ENCODE = """async ([png, quality]) => {
  const image = new Image();
  image.src = "data:image/png;base64," + png;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", quality).split(",")[1];
}"""


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture: the page under the organisation (or from the root where it begins with ``/``), and what is done
    there before it is taken. ``height`` cuts the page; ``scripts`` waits for its charts."""

    path: str
    height: int = 860
    before: Callable[[Page], object] | None = None
    theme: str = "light"


def _first(selector: str) -> Callable[[Page], object]:
    return lambda page: page.locator(selector).first.click()


def _session(page: Page) -> None:
    """The session with the most calls of those that fit on a picture."""
    calls = [int(text.replace(",", "")) for text in page.locator("main tbody td:nth-child(5)").all_inner_texts()]
    of = page.locator("main tbody td:nth-child(2)").all_inner_texts()
    # The demonstration's Claude Code, which tells of first tokens.
    fit = [i for i, name in enumerate(of) if name in {"route-planner", "platform-tools"} and calls[i] <= 14]
    row = page.locator("main tbody tr").nth(max(fit, key=lambda i: calls[i], default=0))
    row.locator("a[href*='/session?']").first.click()


def _palette(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.keyboard.type("route")
    page.get_by_role("option").first.wait_for()


def _first_run(page: Page) -> None:
    page.get_by_label("Name").fill("Night Weavers")
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name").fill("torque-bench")
    page.get_by_role("button", name="Make the project").click()
    page.get_by_role("button", name="Make a key").click()
    page.locator(".mw-keybox code").wait_for()


def _first_key(page: Page) -> None:
    page.locator("main tbody a.mw-name").first.click()
    page.locator("main tbody a.mw-name").first.click()


SHOTS: dict[str, Shot] = {
    "home-light": Shot("", 1040),
    "home-dark": Shot("", 1040, theme="dark"),
    "usage": Shot("usage?by=project", 1040),
    "costs": Shot("costs", 940),
    "sessions": Shot("sessions", 760),
    "session": Shot("sessions", 940, _session),
    "events": Shot("events", 760),
    "views": Shot("views", 560),
    "notifications": Shot("notifications", 620),
    "keyboard": Shot("", 700, _palette),
    "connect": Shot("connect", 1000),
    "first-run": Shot("/welcome?new=1", 980, _first_run),
    "project": Shot("projects", 860, _first("main tbody a.mw-name")),
    "project-access": Shot("projects/route-planner/access", 560),
    "key": Shot("projects", 860, _first_key),
    "keys": Shot("settings/keys", 760),
    "settings": Shot("settings", 700),
    "prices": Shot("settings/prices", 760),
    "members": Shot("settings/members", 760),
    "invitations": Shot("settings/members/invitations", 480),
    "roles": Shot("settings/roles", 860),
    "role-new": Shot("settings/roles/new", 980),
    "access-review": Shot("settings/access", 760),
    "sso": Shot("settings/sso", 760),
    "sso-groups": Shot("settings/sso/groups", 520),
    "sso-provisioning": Shot("settings/sso/provisioning", 640),
    "audit": Shot("settings/audit", 860),
    "audit-streams": Shot("settings/audit/streams", 560),
    "require-factor": Shot("settings/security", 560),
    "account-security": Shot("/account/security", 620),
    "account-sign-ins": Shot("/account/sessions", 520),
    "account-privacy": Shot("/account/privacy", 760),
    "leave-and-delete": Shot("settings/danger", 940),
}


# ---------------------------------------------------------------- what there is to see
def _prepare(product: Product) -> None:
    """Whatever the demonstration lacks, by the API, as its owner."""
    token = _call(product, "", "POST", "/auth/login", email=product.email, password=product.password)["access_token"]
    org = f"/orgs/{product.org_id}"

    def call(method: str, path: str, **body: Any) -> Any:
        return _call(product, token, method, path, **body)

    members = call("GET", f"{org}/members?limit=100")["data"]
    teams = call("GET", f"{org}/teams?limit=100")["data"]
    role = call(
        "POST", f"{org}/roles", name="Reviewer", description="Looks through access and the audit log",
        capabilities=["org.read", "member.read", "team.read", "project.read", "access.review", "audit.read"],
    )  # fmt: skip
    call("POST", f"{org}/teams", name="Night shift", parent_id=teams[0]["id"])
    for name, given in (("ada", "developer"), ("ben", "viewer"), ("cy", "admin")):
        call("POST", f"{org}/invitations", email=f"{name}@loom.example", role=given, message="Do come.")
    viewer = next(each for each in members if each["role"] == "viewer")
    call("PUT", f"/projects/{product.project_id}/grants/{viewer['user_id']}", capabilities=["key.read", "usage.read"])
    call("POST", f"{org}/sso/domains", name="harborfreight.example")
    call("POST", f"{org}/sso/connections", kind="oidc", name="Okta", issuer="https://harborfreight.okta.example",
         client_id="0oa8x2k1", client_secret="not-a-secret")  # fmt: skip
    call("POST", f"{org}/sso/mappings", group="security-review", role=role["role"])
    call("POST", f"{org}/sso/mappings", group="ml-platform", role="developer", team_id=teams[0]["id"])
    call("POST", f"{org}/sso/scim-tokens", name="Okta")
    call("POST", f"{org}/views", page="usage", name="People by week", query="by=user&grain=week")
    call("POST", f"{org}/views", page="sessions", name="Going on now", query="state=active", is_shared=True)
    call("POST", "/audit/streams", name="SIEM", url="https://siem.harborfreight.example/in", format="json")


def _call(product: Product, token: str, method: str, path: str, **body: Any) -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(body).encode() if method != "GET" else None
    with urlopen(Request(product.url + path, data, headers, method=method), timeout=30) as answer:
        return json.loads(answer.read() or b"null")


# ---------------------------------------------------------------- pictures
def _take(browser: Browser, product: Product, names: list[str]) -> None:
    signed_in = _signed_in(browser, product)
    encoder = browser.new_page()
    for name in names:
        shot = SHOTS[name]
        context = browser.new_context(
            viewport={"width": 1280, "height": shot.height}, color_scheme=shot.theme,  # type: ignore[arg-type]
            storage_state=signed_in, reduced_motion="reduce",
        )  # fmt: skip
        page = context.new_page()
        page.goto(f"{product.url}/")
        org = page.url if "/o/" in page.url else ""
        page.goto(f"{product.url}{shot.path}" if shot.path.startswith("/") else org + shot.path)
        if shot.before:
            shot.before(page)
        page.wait_for_load_state("networkidle")
        for chart in page.locator("[data-chart]").all():
            chart.and_(page.locator("[data-drawn]")).wait_for()
        page.wait_for_timeout(600)
        png = base64.b64encode(page.screenshot()).decode()
        webp = base64.b64decode(encoder.evaluate(_ENCODE, [png, QUALITY]))
        (IMAGES / f"{name}.webp").write_bytes(webp)
        print(f"{name}.webp, {len(webp) // 1024} KB")
        context.close()


def _signed_in(browser: Browser, product: Product) -> Any:
    """The owner's cookies, after they added an authenticator app and a second browser."""
    for _ in range(2):
        context = browser.new_context(user_agent=_AGENT)
        page = context.new_page()
        page.goto(f"{product.url}/login")
        page.get_by_label("E-mail address").fill(product.email)
        page.get_by_label("Password").fill(product.password)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url("**/o/**")
    page.goto(f"{product.url}/account/security/app")
    page.get_by_role("textbox", name="Code").fill(_code(page.locator(".mw-keybox code").inner_text()))
    page.get_by_role("button", name="Add the app").click()
    page.get_by_role("link", name="I have kept them").wait_for()
    return context.storage_state()


def _code(secret: str) -> str:
    """The six digits of this half minute (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    found = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), "sha1").digest()
    at = found[-1] & 15
    return f"{(int.from_bytes(found[at : at + 4], 'big') & 0x7FFFFFFF) % 10**6:06d}"


def main(names: list[str]) -> None:
    """Take the pictures ``names``, or all."""
    with conftest.running() as product, sync_playwright() as playwright:
        _prepare(product)
        browser = launch(playwright)
        _take(browser, product, names or list(SHOTS))
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])

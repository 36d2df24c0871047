"""The pictures of the guide, taken of the product as it is: ``make pictures``.

Starts MindWeave with its demonstration, fills in what a guide has to show (a role of one's own, invitations, single
sign-on, second factors), walks to each page in Chromium and writes ``docs/img/<name>.webp``. Names given on the command
line take those alone. Look at each one before it is committed.
"""

import base64
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import Browser, Page

from tests.browser import conftest
from tests.browser.conftest import Product

__all__ = ["main"]

IMAGES = Path(__file__).parents[2] / "docs/img"
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


def _click(role: Any, name: str, nth: int = 0) -> Callable[[Page], object]:
    return lambda page: page.get_by_role(role, name=name, exact=True).nth(nth).click()


def _first(selector: str) -> Callable[[Page], object]:
    return lambda page: page.locator(selector).first.click()


def _all(*steps: Callable[[Page], object]) -> Callable[[Page], object]:
    return lambda page: [step(page) for step in steps]


def _palette(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.keyboard.type("route")
    page.get_by_role("option").first.wait_for()


def _new_project(page: Page) -> None:
    page.get_by_label("Name").fill("torque-bench")
    page.get_by_role("button", name="Make the project").click()
    page.get_by_role("button", name="Make a key").click()


def _new_key(page: Page) -> None:
    page.locator("main tbody a.mw-name").first.click()
    page.get_by_label("Name").first.fill("nightly report")


_WORKING_PROJECT = "main tbody a.mw-name"
_TABS = ".mw-set-tabs"
SHOTS: dict[str, Shot] = {
    "home-light": Shot("", 1040),
    "home-dark": Shot("", 1040, theme="dark"),
    "usage": Shot("usage?by=project&compare=1", 1040),
    "costs": Shot("costs", 940),
    "sessions": Shot("sessions"),
    "session": Shot("sessions", 940, _first("main tbody a")),
    "events": Shot("events"),
    "views": Shot("views", 620),
    "notifications": Shot("notifications", 620),
    "keyboard": Shot("", 860, _palette),
    "connect": Shot("connect", 1000),
    "first-run": Shot("/welcome?new=1", 940),
    "project": Shot("projects", 900, _new_key),
    "project-access": Shot("projects", 900, _all(_first(_WORKING_PROJECT), _click("link", "Settings", 1))),
    "settings": Shot("settings", 700),
    "prices": Shot("settings/prices"),
    "members": Shot("settings/members"),
    "invitations": Shot("settings/members/invitations", 560),
    "roles": Shot("settings/roles", 900),
    "role-new": Shot("settings/roles/new", 900),
    "access-review": Shot("settings/access"),
    "sso": Shot("settings/sso", 900),
    "sso-provisioning": Shot("settings/sso/provisioning", 700),
    "audit": Shot("settings/audit", 900),
    "audit-streams": Shot("settings/audit/streams", 640),
    "require-factor": Shot("settings/security", 620),
    "keys": Shot("settings/keys", 900),
    "account-security": Shot("/account/security", 700),
    "account-sign-ins": Shot("/account/sessions", 520),
    "account-privacy": Shot("/account/privacy", 760),
    "login": Shot("/login", 700),
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
    for email, name in (("ada@loom.example", "developer"), ("ben@loom.example", "viewer"), ("cy@loom.example", "admin")):
        call("POST", f"{org}/invitations", email=email, role=name, message="We count what we use. Do come.")
    viewer = next(each for each in members if each["role"] == "viewer")
    call("PUT", f"/projects/{product.project_id}/grants/{viewer['user_id']}", capabilities=["key.read", "usage.read"])
    call("POST", f"{org}/sso/domains", name="harborfreight.example")
    call("POST", f"{org}/sso/connections", kind="oidc", name="Okta", issuer="https://harborfreight.okta.example",
         client_id="0oa8x2k1", client_secret="not-a-secret")  # fmt: skip
    call("POST", f"{org}/sso/mappings", group="security-review", role=role["role"])
    call("POST", f"{org}/sso/mappings", group="ml-platform", role="developer", team_id=teams[0]["id"])
    call("POST", f"{org}/sso/scim-tokens", name="Okta")
    call("POST", f"{org}/views", page="usage", name="Cost by person, weekly", query="metric=cost_usd&by=user&grain=week")
    call("POST", f"{org}/views", page="sessions", name="Dearest sessions", query="sort=-cost", is_shared=True)
    call("POST", "/audit/streams", name="SIEM", url="https://siem.harborfreight.example/in", format="json")


def _call(product: Product, token: str, method: str, path: str, **body: Any) -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(body).encode() if method != "GET" else None
    with urlopen(Request(product.url + path, data, headers, method=method), timeout=30) as answer:
        return json.loads(answer.read() or b"null")

"""In Chromium: the provider's POST from another site finds its way, and the settings read well in every look."""

import base64
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as django_settings
from lxml import etree
from playwright.sync_api import Browser, expect, sync_playwright

from apps.identity.selectors import user_by_email
from apps.sso import services
from apps.sso.contracts import Arrival
from apps.sso.selectors import connection_find, our_addresses
from tests.browser.conftest import ARTIFACTS, AXE
from tests.cast import Api, Cast
from tests.chromium import launch
from tests.sso.conftest import Scim, make_saml
from tests.sso.nameserver import NameServer
from tests.sso.samlidp import SamlIdp, encoded

pytestmark = [pytest.mark.chromium]
LOOKS = [("light", 1440), ("dark", 1024), ("light", 375)]


@pytest.fixture
def chromium(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    # The browser is driven by an event loop of this thread, in which Django would refuse to ask the database.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def ours(live_server: Any, settings) -> str:
    settings.PUBLIC_URL = live_server.url.replace("127.0.0.1", "localhost")
    settings.ALLOWED_HOSTS = ["*"]
    url: str = settings.PUBLIC_URL
    return url


class Provider:
    """The provider's page on another site: takes our request, and has the browser post its answer without a click."""

    def __init__(self, idp: SamlIdp) -> None:
        self.connection: Any = None
        self.html = ""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                raw = parse_qs(urlsplit(self.path).query)["SAMLRequest"][0]
                asked = etree.fromstring(zlib.decompress(base64.b64decode(raw), -15)).get("ID")
                addresses = our_addresses(provider.connection)
                answer = idp.answer(
                    acs=addresses["acs_url"], audience=addresses["entity_id"], in_response_to=asked or ""
                )
                body = (
                    f'<form method="post" action="{addresses["acs_url"]}"><input name="SAMLResponse" '
                    f'value="{encoded(answer)}"></form><script>document.forms[0].submit()</script>'
                ).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/sso"


def test_the_answer_comes_from_another_site_and_finds_the_browser_that_asked(
    ours: str, chromium: Browser, cast: Cast, idp: SamlIdp, prove: Callable[..., Any], settings
) -> None:
    settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.1"]
    prove(cast.org.id)
    provider = Provider(idp)
    made = make_saml(cast, idp, idp_sso_url=provider.url)
    provider.connection = connection_find(made.id)
    page = chromium.new_context(java_script_enabled=True).new_page()
    page.goto(f"{ours}/login")
    page.get_by_role("link", name="Sign in with SSO").click()
    page.get_by_label("Work e-mail address").fill("ada@example.com")
    page.get_by_role("button", name="Go on").click()
    # From our page to the provider's, and by its POST back: nothing else is clicked.
    page.wait_for_url(f"{ours}/o/{cast.org.slug}/**")
    person = user_by_email("ada@example.com")
    assert person is not None
    assert django_settings.SESSION_COOKIE_SAMESITE == "Lax"
    provider.server.shutdown()


def furnished(cast: Cast, idp: SamlIdp, prove: Callable[..., Any], nameserver: NameServer) -> list[str]:
    """An organisation with something of everything; the paths of its pages."""
    prove(cast.org.id)
    services.add_domain(org_id=cast.org.id, name="looms.example")
    made = make_saml(cast, idp)
    connection = connection_find(made.id)
    assert connection is not None
    claims = {"NameID": "00u1f9", "department": ["Weaving"], "groups": ["Looms", "Everyone"]}
    arrival = Arrival("00u1f9", "ada@example.com", "Ada Lovelace", ("Looms", "Everyone"), claims)
    services.keep_test(connection=connection, arrival=arrival)
    oidc = services.create_connection(org_id=cast.org.id, kind="oidc", name="Entra", values={})
    services.add_mapping(org_id=cast.org.id, group="Looms", role="admin", team_id=cast.team.id)
    services.add_mapping(org_id=cast.org.id, group="Everyone", role="viewer")
    _, secret = services.create_scim_token(org_id=cast.org.id, name="Okta")
    scim = Scim(secret)
    scim("GET", "/Users", {"filter": 'userName eq "grace@example.com"'})
    scim("POST", "/Users", {"userName": "grace@example.com", "displayName": "Grace Hopper"})
    scim("POST", "/Users", {"userName": "mallory@elsewhere.example"})
    base = f"/o/{cast.org.slug}/settings/sso"
    return [
        base, f"{base}/connections/{made.id}", f"{base}/connections/{oidc.id}", f"{base}/new/saml", f"{base}/groups",
        f"{base}/provisioning",
    ]  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_the_settings_read_well(
    theme: Any,
    width: int,
    ours: str,
    chromium: Browser,
    cast: Cast,
    idp: SamlIdp,
    prove: Callable[..., Any],
    nameserver: NameServer,
) -> None:
    paths = [*furnished(cast, idp, prove, nameserver), "/login/sso"]
    cookie = Api(cast.alice).client.cookies[django_settings.SESSION_COOKIE_NAME].value
    complaints: list[str] = []
    context = chromium.new_context(color_scheme=theme, viewport={"width": width, "height": 900})  # type: ignore[arg-type]
    context.add_cookies([{"name": django_settings.SESSION_COOKIE_NAME, "value": cookie, "url": ours}])
    page = context.new_page()
    # The live numbers' socket is of another server, which does not run here.
    page.on(
        "console",
        lambda told: complaints.append(told.text) if told.type == "error" and "WebSocket" not in told.text else None,
    )
    for path in paths:
        page.goto(f"{ours}{path}")
        expect(page.locator("h1")).to_be_visible()
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if over > 0:
            complaints.append(f"{path} at {width} is {over} too wide")
        page.evaluate(AXE.read_text())
        told = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        complaints += [
            f"{path} {theme} {width}: {violation['id']} {node['target']}"
            for violation in told["violations"]
            if violation["impact"] in {"serious", "critical"}
            for node in violation["nodes"]
        ]
        ARTIFACTS.mkdir(exist_ok=True)
        name = path.replace(cast.org.slug, "").strip("/").replace("/", "-")[:40].strip("-")
        page.screenshot(path=ARTIFACTS / f"sso-{name}-{theme}-{width}.png", full_page=True)
    context.close()
    assert complaints == []

"""Confirming by the provider: it has to ask again, and what it says of that is looked at."""

import base64
import time
import zlib
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.apps import apps
from lxml import etree

from apps.core.clock import now
from apps.core.tenancy import system_scope
from apps.identity.models import SignIn
from apps.sso import oidc as oidc_flow
from apps.sso import services
from apps.sso.contracts import ConnectionInfo
from apps.sso.models import Connection
from tests.cast import Api, Cast, trail
from tests.sso.oidcidp import OidcIdp
from tests.sso.samlidp import SamlIdp
from tests.sso.test_oidc import Browser as OidcBrowser
from tests.sso.test_oidc import connection, provider  # noqa: F401 - fixtures
from tests.sso.test_saml import Browser as SamlBrowser

GOOGLE = "https://accounts.google.com"


def age(person: Any) -> None:
    """Let what was shown in the sign-ins of a person be of yesterday."""
    SignIn.objects.filter(user_id=person).update(authenticated_at=now() - timedelta(days=1))


def shown_at(person: Any) -> datetime | None:
    return SignIn.objects.filter(user_id=person, ended_at=None).latest("created_at").authenticated_at


def is_fresh(person: Any) -> bool:
    moment = shown_at(person)
    return moment is not None and now() - moment < timedelta(minutes=2)


@pytest.fixture
def oidc(connection: ConnectionInfo, provider: OidcIdp) -> OidcBrowser:  # noqa: F811
    """Somebody who signed in by the provider yesterday."""
    browser = OidcBrowser(connection, provider)
    assert browser.sign_in().status_code == 302
    age(browser.person)
    return browser


def confirm(browser: OidcBrowser, target: str = "/account") -> dict[str, str]:
    there = browser.client.get(f"/sso/confirm?next={target}")
    assert there.status_code == 302, there.content[:500]
    browser.query = {name: values[0] for name, values in parse_qs(urlsplit(there["Location"]).query).items()}
    browser.provider.nonce = browser.query["nonce"]
    return browser.query


def test_a_sign_in_counts_as_fresh_only_by_what_the_provider_says(oidc: OidcBrowser) -> None:
    assert oidc.sign_in().status_code == 302
    assert shown_at(oidc.person) is None  # it said nothing: somebody may just have walked past an open screen
    oidc.provider.claims = {"auth_time": int(time.time()) - 7200}
    oidc.sign_in()
    assert not is_fresh(oidc.person)
    oidc.provider.claims = {"auth_time": int(time.time()) + 3600}
    oidc.sign_in()
    assert is_fresh(oidc.person)
    moment = shown_at(oidc.person)
    assert moment is not None
    assert moment <= now()


def test_the_provider_is_asked_to_ask_and_the_sign_in_goes_on(oidc: OidcBrowser) -> None:
    person: Any = oidc.person
    sign_ins = SignIn.objects.count()
    asked = confirm(oidc)
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    oidc.provider.claims = {"auth_time": int(time.time())}
    answer = oidc.back()
    assert (answer.status_code, answer["Location"]) == (302, "/account")
    assert oidc.person == person
    assert SignIn.objects.count() == sign_ins
    assert is_fresh(person)
    assert trail("user.confirmed")[-1].actor_id == SignIn.objects.get(user_id=person).user_id


@pytest.mark.parametrize("told", ["nothing", "earlier", "somebody else", "nonsense"])
def test_what_the_provider_did_not_ask_for_confirms_nothing(told: str, oidc: OidcBrowser) -> None:
    confirm(oidc)
    soon = int(time.time())
    claims: dict[str, dict[str, Any]] = {
        "nothing": {},
        "earlier": {"auth_time": soon - 600},
        "somebody else": {"auth_time": soon, "sub": "00u2", "email": "bea@example.com"},
        "nonsense": {"auth_time": True},
    }
    oidc.provider.claims = claims[told]
    answer = oidc.back()
    assert answer.status_code == 403
    assert not is_fresh(oidc.person)
    assert trail("user.confirmed") == []
    assert len(trail("sso.refused")) == 1


def test_a_provider_that_never_says_it_counts_where_the_connection_is_set_so(oidc: OidcBrowser, cast: Cast) -> None:
    services.update_connection(org_id=cast.org.id, connection_id=oidc.connection.id, changes={"needs_auth_time": False})
    confirm(oidc)
    assert oidc.back().status_code == 302
    assert is_fresh(oidc.person)
    # One that does say it is still taken by its word.
    age(oidc.person)
    confirm(oidc)
    oidc.provider.claims = {"auth_time": int(time.time()) - 600}
    assert oidc.back().status_code == 403
    assert not is_fresh(oidc.person)


def test_who_is_told_nothing_learns_which_setting_it_is(oidc: OidcBrowser) -> None:
    confirm(oidc)
    assert "Confirmations want the time of the sign-in" in oidc.back().content.decode()
    assert "needs_auth_time" in trail("sso.refused")[-1].reason


def test_for_google_its_word_is_taken_from_the_start(cast: Cast) -> None:
    def made(name: str, **values: Any) -> ConnectionInfo:
        return services.create_connection(org_id=cast.org.id, kind="oidc", name=name, values=values)

    def changed(connection: ConnectionInfo, **changes: Any) -> bool:  # noqa: F811
        found = services.update_connection(org_id=cast.org.id, connection_id=connection.id, changes=changes)
        return bool(found.settings["needs_auth_time"])

    google = made("Google", issuer=GOOGLE)
    assert google.settings["needs_auth_time"] is False
    assert made("Told", issuer=GOOGLE, needs_auth_time=True).settings["needs_auth_time"] is True
    other = made("Other", issuer="https://idp.example.com")
    assert other.settings["needs_auth_time"] is True
    assert changed(other, issuer=GOOGLE) is False
    assert changed(other, issuer="https://idp.example.com") is True
    assert changed(other, needs_auth_time=False) is False
    assert changed(other, issuer="https://another.example.com") is False
    # Connections that were there before.
    with system_scope("as they were"):
        Connection.objects.update(needs_auth_time=True)
        import_module("apps.sso.migrations.0003_google_says_no_time").take_its_word(apps, None)
        needing = dict(Connection.objects.values_list("name", "needs_auth_time"))
    assert needing == {"Google": False, "Told": False, "Other": True}


def test_google_is_asked_for_the_time_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    says = oidc_flow.Provider(GOOGLE, f"{GOOGLE}/o", f"{GOOGLE}/t", f"{GOOGLE}/k", "", ())
    monkeypatch.setattr(oidc_flow, "discover", lambda issuer: says)
    for wanted in (True, False):
        connection = Connection(kind="oidc", issuer=GOOGLE, client_id="us", needs_auth_time=wanted)  # noqa: F811
        url = oidc_flow.authorize_url(connection, state="s", nonce="n", verifier="v" * 64, fresh=True)
        assert ("auth_time" in parse_qs(urlsplit(url).query).get("claims", [""])[0]) == wanted


def test_a_form_that_waited_is_offered_after_the_confirmation(oidc: OidcBrowser) -> None:
    there = oidc.client.post("/account/privacy/export")
    assert there["Location"].startswith("/account/confirm")
    assert b"/sso/confirm?next=" in oidc.client.get(there["Location"]).content
    confirm(oidc)
    oidc.provider.claims = {"auth_time": int(time.time())}
    assert b'action="/account/privacy/export"' in oidc.back().content


def test_who_never_came_by_a_provider_confirms_in_another_way(cast: Cast, saml: Connection) -> None:
    answer = Api(cast.bob).client.get("/sso/confirm?next=/account")
    assert (answer.status_code, answer["Location"]) == (302, "/account/confirm?next=%2Faccount")
    assert Api().client.get("/sso/confirm")["Location"].startswith("/login")
    elsewhere = Api(cast.bob).client.get("/sso/confirm", headers={"Sec-Fetch-Site": "cross-site"})
    assert elsewhere.status_code == 400


@pytest.mark.parametrize(("ago", "status"), [(0, 302), (600, 403)])
def test_saml_forces_the_sign_in_and_looks_when_it_was(ago: int, status: int, saml: Connection, idp: SamlIdp) -> None:
    browser = SamlBrowser(saml, idp)
    assert browser.answer(browser.begin()).status_code == 302
    assert is_fresh(browser.person)  # the assertion says so
    age(browser.person)
    there = browser.client.get("/sso/confirm?next=/account")
    raw = zlib.decompress(base64.b64decode(parse_qs(urlsplit(there["Location"]).query)["SAMLRequest"][0]), -15)
    request = etree.fromstring(raw)
    assert request.get("ForceAuthn") == "true"
    shown = datetime.now(UTC) - timedelta(seconds=ago)
    answer = browser.answer(request.get("ID") or "", shown=shown)
    assert answer.status_code == status
    assert is_fresh(browser.person) == (status == 302)
    assert len(trail("user.confirmed")) == (1 if status == 302 else 0)

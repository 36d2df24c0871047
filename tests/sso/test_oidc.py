"""OpenID Connect: a good answer signs in, and of each bad one nothing comes."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.test import Client
from joserfc.jwk import RSAKey

from apps.accounts.selectors import role_of
from apps.identity import services as identity
from apps.identity.models import User
from apps.identity.selectors import user_by_email
from apps.sso import services
from apps.sso.contracts import ConnectionInfo
from apps.teams.selectors import is_team_member
from tests.cast import PASSWORD, Api, Cast, trail
from tests.sso.oidcidp import OidcIdp

SECRET = "a client secret / with: odd signs"


@pytest.fixture
def provider(settings) -> Iterator[OidcIdp]:
    settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.1"]
    cache.clear()
    server = OidcIdp()
    yield server
    server.stop()


@pytest.fixture
def connection(cast: Cast, provider: OidcIdp, prove: Callable[..., Any]) -> ConnectionInfo:
    prove(cast.org.id)
    made = services.create_connection(
        org_id=cast.org.id, kind="oidc", name="Entra",
        values={
            "issuer": provider.issuer, "client_id": provider.client_id, "client_secret": SECRET,
            "default_role": "viewer",
        },
    )  # fmt: skip
    return services.enable_connection(org_id=cast.org.id, connection_id=made.id)


class Browser:
    """Somebody's browser on its way through the provider."""

    def __init__(self, connection: ConnectionInfo, provider: OidcIdp) -> None:
        self.client, self.connection, self.provider = Client(), connection, provider
        self.query: dict[str, str] = {}

    def begin(self, query: str = "") -> None:
        there = self.client.get(f"/sso/{self.connection.id}/start{query}")
        assert there.status_code == 302, there.content[:500]
        self.query = {name: values[0] for name, values in parse_qs(urlsplit(there["Location"]).query).items()}
        self.provider.nonce = self.query["nonce"]

    def back(self, **parts: str) -> Any:
        return self.client.get("/sso/callback", {"code": "c0de", "state": self.query["state"], **parts})

    def sign_in(self) -> Any:
        self.begin()
        return self.back()

    @property
    def person(self) -> str | None:
        return self.client.session.get("_auth_user_id")


@pytest.fixture
def browser(connection: ConnectionInfo, provider: OidcIdp) -> Browser:
    return Browser(connection, provider)


def nothing_came_of_it(browser: Browser, answer: Any) -> None:
    assert answer.status_code == 403, (answer.status_code, answer.content[:300])
    assert browser.person is None
    assert user_by_email("ada@example.com") is None
    assert trail("user.login") == []


# ---------------------------------------------------------------- good answers
def test_a_good_answer_signs_in(browser: Browser, provider: OidcIdp, cast: Cast) -> None:
    answer = browser.sign_in()
    assert answer.status_code == 302, answer.content[:600]
    assert answer["Location"] == f"/o/{cast.org.slug}/"
    person = user_by_email("ada@example.com")
    assert person is not None
    assert browser.person == str(person.id)
    assert role_of(org_id=cast.org.id, user_id=person.id) == "viewer"
    assert trail("user.login")[-1].changes["method"] == [None, "oidc"]
    # What went to the provider: PKCE, and the secret as RFC 6749 has it.
    assert browser.query["code_challenge_method"] == "S256"
    _, headers, form = next(one for one in provider.requests if one[0] == "/token")
    assert form["code_verifier"][0] != browser.query["code_challenge"]
    assert form["redirect_uri"] == [browser.query["redirect_uri"]]
    import base64
    from urllib.parse import unquote

    pair = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
    assert unquote(pair.partition(":")[2]) == SECRET


def test_the_short_name_of_the_organisation_leads_to_its_provider(browser: Browser, cast: Cast) -> None:
    there = browser.client.get(f"/sso/{cast.org.slug}/start")
    assert there["Location"].startswith(browser.provider.issuer)


def test_an_address_leads_to_the_provider_and_every_other_to_the_same_answer(
    browser: Browser, cast: Cast, settings
) -> None:
    onward = browser.client.post("/login/sso", {"email": "somebody@example.com", "next": "/o/x/"})
    assert onward.status_code == 200
    assert onward["Refresh"].startswith(f"0;url=/sso/{browser.connection.id}/start?")
    services.add_domain(org_id=cast.org.id, name="unproved.example")
    answers = {
        browser.client.post("/login/sso", {"email": f"a@{domain}"}).content.count(b"No organisation signs in by this")
        for domain in ("unproved.example", "unknown.example", "gmail.com")
    }
    assert answers == {1}
    assert browser.client.post("/login/sso", {"email": "charlie@example.com"})["Refresh"]


def test_the_hint_goes_along(browser: Browser) -> None:
    browser.begin("?login_hint=ada@example.com")
    assert browser.query["login_hint"] == "ada@example.com"


def test_groups_give_what_they_are_mapped_to_and_take_it_again(browser: Browser, cast: Cast) -> None:
    services.add_mapping(org_id=cast.org.id, group="Looms", role="admin", team_id=cast.team.id)
    browser.sign_in()
    person = user_by_email("ada@example.com")
    assert person is not None
    assert role_of(org_id=cast.org.id, user_id=person.id) == "admin"
    assert is_team_member(org_id=cast.org.id, team_id=cast.team.id, user_id=person.id)
    assert trail("member.role_changed")[-1].actor_label == "Single sign-on: Entra"
    browser.provider.claims = {"groups": []}
    browser.sign_in()
    assert role_of(org_id=cast.org.id, user_id=person.id) == "viewer"
    assert not is_team_member(org_id=cast.org.id, team_id=cast.team.id, user_id=person.id)


def test_groups_that_are_not_told_stay_as_they_were(browser: Browser, cast: Cast) -> None:
    services.add_mapping(org_id=cast.org.id, group="Looms", role="admin")
    browser.sign_in()
    browser.provider.claims = {"groups": None}
    browser.provider.userinfo = {"sub": "00u1"}
    browser.sign_in()
    person = user_by_email("ada@example.com")
    assert person is not None
    assert role_of(org_id=cast.org.id, user_id=person.id) == "admin"


def test_groups_that_the_token_lacks_come_from_userinfo(browser: Browser, cast: Cast) -> None:
    services.add_mapping(org_id=cast.org.id, group="Looms", role="admin")
    browser.provider.claims = {"groups": None}
    browser.provider.userinfo = {"sub": "00u1", "groups": ["Looms"]}
    browser.sign_in()
    person = user_by_email("ada@example.com")
    assert person is not None
    assert role_of(org_id=cast.org.id, user_id=person.id) == "admin"


def test_no_mapping_gives_or_takes_owner(browser: Browser, cast: Cast) -> None:
    from apps.core.errors import ValidationFailed

    with pytest.raises(ValidationFailed):
        services.add_mapping(org_id=cast.org.id, group="Looms", role="owner")
    services.add_mapping(org_id=cast.org.id, group="Looms", role="viewer")
    browser.provider.claims = {"email": "alice@example.com"}
    browser.sign_in()
    assert browser.person == str(cast.alice.id)
    assert role_of(org_id=cast.org.id, user_id=cast.alice.id) == "owner"


def test_who_has_an_account_is_joined_to_it_and_keeps_their_role(browser: Browser, cast: Cast) -> None:
    browser.provider.claims = {"email": "Bob@Example.com"}
    browser.sign_in()
    assert browser.person == str(cast.bob.id)
    assert role_of(org_id=cast.org.id, user_id=cast.bob.id) == "developer"
    assert User.objects.get(pk=cast.bob.id).check_password(PASSWORD)


def test_an_account_somebody_made_in_wait_is_taken_from_them(browser: Browser) -> None:
    identity.register(email="ada@example.com", password=PASSWORD)
    pair = identity.login(email="ada@example.com", password=PASSWORD)
    assert browser.sign_in().status_code == 302
    user = User.objects.get(email="ada@example.com")
    assert browser.person == str(user.pk)
    assert not user.has_usable_password()
    assert Api(token=pair.access_token).get("/auth/me").status_code == 401


def test_a_provider_may_change_its_key(browser: Browser) -> None:
    browser.sign_in()
    browser.client.logout()
    browser.provider.keys = [RSAKey.generate_key(2048, {"kid": "two", "use": "sig", "alg": "RS256"})]
    browser.provider.header = {"kid": "two"}
    assert browser.sign_in().status_code == 302
    assert browser.person is not None


# ---------------------------------------------------------------- bad answers
@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example.net"}, {"aud": "another"}, {"aud": ["weave", "another"]},
        {"aud": ["weave", "another"], "azp": "another"}, {"azp": "another"}, {"exp": 1_700_000_000},
        {"exp": None}, {"iat": None}, {"sub": None}, {"nonce": "another"}, {"nonce": None}, {"email_verified": False},
        {"email": None}, {"email": "ada@elsewhere.example"}, {"email": "no address"}, {"exp": "soon"},
    ],
    ids=str,
)  # fmt: skip
def test_a_token_that_is_not_in_order_is_refused(claims: dict[str, Any], browser: Browser) -> None:
    browser.provider.claims = claims
    browser.provider.userinfo = {"sub": "00u1"}
    nothing_came_of_it(browser, browser.sign_in())
    assert len(trail("sso.refused")) == 1


def test_a_token_of_several_audiences_that_names_us_as_its_party_is_taken(browser: Browser) -> None:
    browser.provider.claims = {"aud": ["weave", "another"], "azp": "weave"}
    assert browser.sign_in().status_code == 302


def test_a_token_signed_by_another_key_is_refused(browser: Browser) -> None:
    browser.provider.signer = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
    nothing_came_of_it(browser, browser.sign_in())


def test_a_token_without_a_signature_is_refused(browser: Browser) -> None:
    browser.provider.header = {"alg": "none"}
    nothing_came_of_it(browser, browser.sign_in())


def test_a_token_signed_with_the_clients_secret_or_the_public_key_is_refused(browser: Browser) -> None:
    for secret in (SECRET.encode(), browser.provider.keys[0].as_pem(private=False)):
        browser.provider.header, browser.provider.signer = {"alg": "HS256"}, secret
        nothing_came_of_it(browser, browser.sign_in())


def test_userinfo_of_somebody_else_is_refused(browser: Browser) -> None:
    browser.provider.claims = {"email": None}
    browser.provider.userinfo = {"sub": "00u2", "email": "ada@example.com"}
    nothing_came_of_it(browser, browser.sign_in())


def test_a_provider_that_calls_itself_something_else_is_not_asked(browser: Browser) -> None:
    browser.provider.document = {"issuer": "https://evil.example.net"}
    there = browser.client.get(f"/sso/{browser.connection.id}/start")
    assert there.status_code == 403
    assert "evil" in trail("sso.refused")[-1].reason


def test_an_address_inside_our_network_is_not_asked(browser: Browser, settings) -> None:
    settings.OUTBOUND_ALLOWED_HOSTS = []
    assert browser.client.get(f"/sso/{browser.connection.id}/start").status_code == 403
    assert browser.provider.requests == []


def test_an_answer_to_another_browser_is_refused(browser: Browser, connection: ConnectionInfo) -> None:
    victim = Browser(connection, browser.provider)
    browser.begin()
    answer = victim.client.get("/sso/callback", {"code": "c0de", "state": browser.query["state"]})
    nothing_came_of_it(victim, answer)


def test_a_state_is_good_once(browser: Browser) -> None:
    browser.sign_in()
    browser.client.logout()
    browser.begin()
    browser.back()
    browser.client.post("/logout")
    assert browser.back().status_code == 403
    assert browser.person is None


def test_what_the_provider_refuses_is_refused(browser: Browser) -> None:
    browser.begin()
    nothing_came_of_it(browser, browser.back(error="access_denied"))
    browser.begin()
    nothing_came_of_it(browser, browser.back(iss="https://evil.example.net"))
    assert "access_denied" in trail("sso.refused")[0].reason


def test_a_connection_that_is_off_lets_nobody_in(browser: Browser, cast: Cast) -> None:
    browser.begin()
    services.disable_connection(org_id=cast.org.id, connection_id=browser.connection.id)
    nothing_came_of_it(browser, browser.back())
    assert browser.client.get(f"/sso/{browser.connection.id}/start").status_code == 404


def test_whoever_is_no_member_stays_out_where_the_connection_makes_none(browser: Browser, cast: Cast) -> None:
    services.update_connection(
        org_id=cast.org.id, connection_id=browser.connection.id, changes={"creates_members": False}
    )
    nothing_came_of_it(browser, browser.sign_in())


def test_a_deactivated_account_stays_out(browser: Browser, cast: Cast) -> None:
    User.objects.filter(pk=cast.bob.id).update(is_active=False)
    browser.provider.claims = {"email": "bob@example.com"}
    nothing_came_of_it(browser, browser.sign_in())


def test_the_secret_of_a_client_is_kept_encrypted_and_not_told(cast: Cast, connection: ConnectionInfo) -> None:
    from django.db import connection as database

    with database.cursor() as cursor:
        cursor.execute("SELECT row_to_json(t)::text FROM sso_connection t")
        assert SECRET not in cursor.fetchone()[0]
    answer = Api(cast.alice).get(f"/orgs/{cast.org.id}/sso/connections/{connection.id}")
    assert SECRET.encode() not in answer.content
    assert SECRET not in str([entry.changes for entry in trail("sso.connection_created")])

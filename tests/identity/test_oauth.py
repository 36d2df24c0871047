"""Signing in with Google, GitHub and Microsoft, against servers that answer as they do."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.test import Client

from apps.core import clock
from apps.core.clock import now
from apps.core.errors import PermissionDenied
from apps.core.tenancy import system_scope
from apps.identity import oauth, oauth_providers
from apps.identity.models import OAuthIdentity, User
from apps.identity.ports import login_policy
from apps.notify.models import EmailMessage as Mail
from tests.cast import PASSWORD, make_person, published, sign_in, trail
from tests.identity.providers import Provider, provider, settings_for
from tests.identity.test_webauthn import enrol as enrol_key


@pytest.fixture
def there(db, settings):
    with provider() as one:
        settings.OAUTH_PROVIDERS = settings_for(one)
        settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.1"]
        oauth_providers.forget_keys()
        yield one
    oauth_providers.forget_keys()


def go(client: Client, there: Provider, name: str = "google", query: str = "", **change):
    """Leave, agree, come back."""
    away = client.get(f"/auth/oauth/{name}{query}")
    assert away.status_code == 302, away.content
    return client.get("/auth/oauth/callback", {**there.consent(away["Location"]), **change})


def is_in(client: Client) -> bool:
    return client.get("/auth/me").status_code == 200


# ---------------------------------------------------------------- coming in
def test_somebody_new_is_registered_with_the_address_that_the_provider_verified(there) -> None:
    client = Client()
    answer = go(client, there, query="?next=/welcome")
    assert answer["Location"] == "/welcome"
    me = client.get("/auth/me").json()
    assert (me["email"], me["name"], me["email_verified"]) == ("alice@example.com", "Alice", True)
    assert not User.objects.get().has_usable_password()
    assert [event["method"] for event in published("user.login")] == ["oauth:google"]
    assert len(trail("user.provider.linked")) == 1


def test_they_come_back_by_the_providers_id_whatever_their_address_is_by_then(there) -> None:
    go(Client(), there)
    there.claims = {"email": "alice@elsewhere.example", "email_verified": False}
    client = Client()
    assert go(client, there).status_code == 302
    assert client.get("/auth/me").json()["email"] == "alice@example.com"
    assert User.objects.count() == 1


def test_github_is_asked_for_its_verified_primary_address(there) -> None:
    there.mails = [
        {"email": "spam@example.com", "verified": False, "primary": False},
        {"email": "second@example.com", "verified": True, "primary": False},
        {"email": "alice@example.com", "verified": True, "primary": True},
    ]
    client = Client()
    assert go(client, there, "github").status_code == 302
    assert client.get("/auth/me").json()["email"] == "alice@example.com"
    assert OAuthIdentity.objects.get().subject == "583231"


def test_microsofts_address_counts_where_microsoft_says_who_owns_it(there) -> None:
    there.claims = {"tid": "11111111-2222-3333-4444-555555555555", "email_verified": None}
    refused = go(Client(), there, "microsoft")
    assert refused.status_code == 400
    assert not User.objects.exists(), "any tenant's administrator may write any address"
    there.claims["xms_edov"] = True
    assert go(Client(), there, "microsoft").status_code == 302
    assert OAuthIdentity.objects.get().subject == "11111111-2222-3333-4444-555555555555/1234567890"


def test_a_microsoft_token_of_another_tenants_issuer_is_refused(there, settings) -> None:
    settings.OAUTH_PROVIDERS["microsoft"]["issuer"] = there.url + "/{tid}/v2.0"
    there.claims = {"tid": "mine", "iss": there.url + "/mine/v2.0", "xms_edov": True}
    assert go(Client(), there, "microsoft").status_code == 302
    there.claims["iss"] = there.url + "/other/v2.0"
    client = Client()
    assert go(client, there, "microsoft").status_code == 400
    assert not is_in(client)


def test_a_second_factor_is_asked_for_after_a_provider_too(there) -> None:
    go(Client(), there)
    enrol_key(User.objects.get(), "security_key")
    client = Client()
    assert go(client, there)["Location"] == "/login/code"
    assert not is_in(client)


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize("name", ["google", "github", "microsoft"])
def test_no_verified_address_no_account(there, name) -> None:
    there.claims = {"email_verified": False, "tid": "t"}
    there.mails = [{"email": "alice@example.com", "verified": False, "primary": True}]
    client = Client()
    answer = go(client, there, name)
    assert answer.status_code == 400
    assert "verified address" in answer.content.decode()
    assert not is_in(client)
    assert not User.objects.exists()


@pytest.mark.parametrize("lie", [
    {"nonce": "of another sign-in"}, {"nonce": None}, {"aud": "another client"}, {"iss": "https://evil.example"},
    {"exp": 1}, {"sub": None}, {"azp": "another client"}, {"aud": ["the-client", "x"], "azp": "x"},
], ids=str)  # fmt: skip
def test_an_id_token_that_is_not_exactly_right_is_refused(there, lie) -> None:
    there.claims = lie
    client = Client()
    assert go(client, there).status_code == 400
    assert not is_in(client)
    assert not User.objects.exists()


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_an_id_token_without_a_signature_of_the_provider_is_refused(there, algorithm) -> None:
    there.algorithm = algorithm
    assert go(Client(), there).status_code == 400
    assert not User.objects.exists()


def test_an_id_token_of_another_key_is_refused(there) -> None:
    there.stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert go(Client(), there).status_code == 400
    there.kid = "unknown"
    assert go(Client(), there).status_code == 400
    assert there.asked.count("/keys") == 1, "a name that nobody knows does not make us ask again and again"
    assert not User.objects.exists()


def test_a_state_works_once(there) -> None:
    client = Client()
    back = there.consent(client.get("/auth/oauth/google")["Location"])
    assert client.get("/auth/oauth/callback", back).status_code == 302
    client.post("/logout")
    there.codes[back["code"]] = {}
    assert client.get("/auth/oauth/callback", back).status_code == 400
    assert not is_in(client)


def test_a_code_works_once(there) -> None:
    client = Client()
    back = there.consent(client.get("/auth/oauth/google")["Location"])
    client.get("/auth/oauth/callback", back)
    other = Client()
    fresh = there.consent(other.get("/auth/oauth/google")["Location"])
    assert other.get("/auth/oauth/callback", {**fresh, "code": back["code"]}).status_code == 400
    assert not is_in(other)


def test_a_forged_state_or_one_of_another_browser_is_refused(there) -> None:
    attacker, victim = Client(), Client()
    back = there.consent(attacker.get("/auth/oauth/google")["Location"])
    assert victim.get("/auth/oauth/callback", back).status_code == 400
    victim.get("/auth/oauth/google")
    fresh = there.consent(attacker.get("/auth/oauth/google")["Location"])
    assert victim.get("/auth/oauth/callback", fresh).status_code == 400, "nor with a cookie of its own"
    assert victim.get("/auth/oauth/callback", {"state": "forged", "code": "x"}).status_code == 400
    assert not is_in(victim)
    assert "/token" not in there.asked


def test_a_sign_in_waits_for_five_minutes(there) -> None:
    client = Client()
    back = there.consent(client.get("/auth/oauth/google")["Location"])
    with clock.freeze(now() + timedelta(minutes=5, seconds=1)):
        assert client.get("/auth/oauth/callback", back).status_code == 400


def test_somebody_who_says_no_there_is_told_so_here(there) -> None:
    client = Client()
    back = there.consent(client.get("/auth/oauth/google")["Location"])
    answer = client.get("/auth/oauth/callback", {"state": back["state"], "error": "access_denied"})
    assert answer.status_code == 400
    assert "did not let you through" in answer.content.decode()


def test_a_provider_that_does_not_answer_is_said(there, settings) -> None:
    settings.OUTBOUND_ALLOWED_HOSTS = []
    answer = go(Client(), there)
    assert answer.status_code == 400
    assert "did not answer" in answer.content.decode()


def test_one_that_is_not_configured_is_not_offered(there, settings) -> None:
    settings.OAUTH_PROVIDERS["google"]["client_secret"] = ""
    page = Client().get("/login").content.decode()
    assert "Sign in with GitHub" in page
    assert "Sign in with Google" not in page
    assert Client().get("/auth/oauth/google").status_code == 404
    assert Client().get("/auth/oauth/other").status_code == 404


def test_nobody_is_led_elsewhere_afterwards(there) -> None:
    assert go(Client(), there, query="?next=//evil.example")["Location"] == "/"


def test_the_login_policy_has_the_last_word(there, monkeypatch) -> None:
    asked = []

    class SingleSignOn:
        def refusal(self, email, method):
            asked.append((email, method))
            return PermissionDenied("Sign in through your organisation", code="sso_required")

    monkeypatch.setattr(login_policy, "get", SingleSignOn)
    client = Client()
    assert go(client, there).status_code == 403
    assert asked == [("alice@example.com", "oauth")]
    assert not is_in(client)
    assert not User.objects.exists()


# ---------------------------------------------------------------- an address that is somebody's here
def test_an_account_with_the_address_is_linked_after_signing_in_to_it(there) -> None:
    make_person("alice")
    client = Client()
    answer = go(client, there)
    assert answer.status_code == 409
    assert not is_in(client)
    assert not OAuthIdentity.objects.exists()
    assert answer.context["next"] == "/account/security/link"
    done = client.post("/login", {"email": "alice@example.com", "password": PASSWORD, "next": "/account/security/link"})
    assert done["Location"] == "/account/security/link"
    assert "Link your Google account?" in client.get("/account/security/link").content.decode()
    assert not OAuthIdentity.objects.exists(), "it is asked, not done"
    client.post("/account/security/link", {"link": "1"})
    assert OAuthIdentity.objects.get().user.email == "alice@example.com"
    assert is_in(later := Client()) is False
    assert go(later, there).status_code == 302
    assert is_in(later)


def test_what_waits_is_linked_to_no_other_account(there) -> None:
    make_person("alice")
    make_person("bob")
    client = Client()
    go(client, there)
    client.post("/login", {"email": "bob@example.com", "password": PASSWORD})
    client.post("/account/security/link", {"link": "1"})
    assert not OAuthIdentity.objects.exists()


def test_where_the_operator_trusts_addresses_two_verified_ones_are_enough(there, settings) -> None:
    settings.OAUTH_LINK_BY_ADDRESS = True
    alice = make_person("alice")
    User.objects.update(email_verified_at=None)
    assert go(Client(), there).status_code == 409, "ours is not verified"
    User.objects.update(email_verified_at=now())
    there.claims = {"email_verified": False}
    assert go(Client(), there).status_code == 400, "theirs is not"
    there.claims = {}
    client = Client()
    assert go(client, there).status_code == 302
    assert client.get("/auth/me").json()["id"] == str(alice.id)
    with system_scope("the test reads all mails"):
        assert [mail.template for mail in Mail.objects.all()] == ["provider_linked"]


# ---------------------------------------------------------------- the Security page
def test_a_signed_in_person_links_and_unlinks(there) -> None:
    alice = User.objects.get(pk=make_person("alice").id)
    client = Client()
    sign_in(client, alice)
    there.claims = {"email": "private@example.com"}
    assert go(client, there, query="?intent=link")["Location"] == "/account/security"
    assert OAuthIdentity.objects.get().user_id == alice.pk
    assert "private@example.com" in client.get("/account/security").content.decode()
    client.post("/account/security/providers/google/unlink")
    assert not OAuthIdentity.objects.exists()
    assert len(trail("user.provider.unlinked")) == 1


def test_another_page_cannot_make_a_browser_link(there) -> None:
    client = Client()
    sign_in(client, User.objects.get(pk=make_person("alice").id))
    answer = client.get("/auth/oauth/google?intent=link", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 400


def test_linking_wants_a_fresh_credential(there) -> None:
    client = Client()
    sign_in(client, User.objects.get(pk=make_person("alice").id), age=timedelta(minutes=16))
    assert client.get("/auth/oauth/google?intent=link")["Location"].startswith("/account/confirm")


def test_an_account_that_signs_somebody_in_is_linked_to_nobody_else(there) -> None:
    go(Client(), there)
    bob = User.objects.get(pk=make_person("bob").id)
    client = Client()
    sign_in(client, bob)
    go(client, there, query="?intent=link")
    assert not OAuthIdentity.objects.filter(user=bob).exists()


def test_somebody_else_who_signed_in_meanwhile_is_not_linked(there) -> None:
    client = Client()
    sign_in(client, User.objects.get(pk=make_person("alice").id))
    back = there.consent(client.get("/auth/oauth/google?intent=link")["Location"])
    sign_in(client, User.objects.get(pk=make_person("bob").id))
    client.get("/auth/oauth/callback", back)
    assert not OAuthIdentity.objects.exists()


def test_the_last_way_in_is_not_unlinked(there) -> None:
    client = Client()
    go(client, there)
    client.post("/account/security/providers/google/unlink")
    assert OAuthIdentity.objects.exists()
    with pytest.raises(PermissionDenied):
        oauth.unlink(user=User.objects.get(), provider="google")


def test_somebody_without_a_password_confirms_with_their_provider(there) -> None:
    go(Client(), there)
    client = Client()
    sign_in(client, User.objects.get(), age=timedelta(minutes=16))
    page = client.get("/account/confirm?next=/account/security/app").content.decode()
    assert "Confirm with Google" in page
    assert client.get("/account/security/app").status_code == 302
    assert go(client, there, query="?intent=confirm&next=/account/security/app")["Location"] == "/account/security/app"
    assert client.get("/account/security/app").status_code == 200


def test_another_account_there_confirms_nothing(there) -> None:
    go(Client(), there)
    client = Client()
    sign_in(client, User.objects.get(), age=timedelta(minutes=16))
    there.claims = {"sub": "somebody else"}
    go(client, there, query="?intent=confirm&next=/account/security/app")
    assert client.get("/account/security/app").status_code == 302

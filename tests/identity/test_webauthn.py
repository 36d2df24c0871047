"""Security keys and passkeys: enrolling, signing in, and what is refused."""

from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from apps.core import clock
from apps.core.clock import now
from apps.core.errors import PermissionDenied
from apps.identity import mfa
from apps.identity.models import Challenge, FactorDevice, User
from apps.identity.ports import login_policy
from tests.cast import PASSWORD, Api, make_person, published, sign_in, trail
from tests.identity.authenticator import Key


@pytest.fixture
def alice(db) -> User:
    return User.objects.get(pk=make_person("alice").id)


def client_of(user: User) -> Api:
    api = Api()
    sign_in(api.client, user)
    return api


def enrol(user: User, kind: str = "passkey", key: Key | None = None, *, expect: int = 201, name: str = "") -> Key:
    api, key = client_of(user), key or Key()
    begun = api.post("/auth/webauthn/register/begin", {"kind": kind}).json()
    answer = api.post(
        "/auth/webauthn/register/complete",
        {"challenge_token": begun["challenge_token"], "name": name, "credential": key.create(begun["options"])},
    )
    assert answer.status_code == expect, answer.content
    return key


def login(key: Key, **how):
    begun = Api().post("/auth/webauthn/login/begin").json()
    credential = key.get(begun["options"], **how)
    body = {"challenge_token": begun["challenge_token"], "credential": credential}
    return Api().post("/auth/webauthn/login/complete", body), body


def pending() -> str:
    answer = Api().post("/auth/login", {"email": "alice@example.com", "password": PASSWORD})
    assert answer.json()["code"] == "mfa_required"
    assert set(answer.json()["factors"]) <= {"passkey", "security_key"}
    return answer.json()["mfa_token"]


def second(key: Key, token: str):
    begun = Api().post("/auth/mfa/verify/begin", {"mfa_token": token}).json()
    return Api().post(
        "/auth/mfa/verify",
        {
            "mfa_token": token, "challenge_token": begun["challenge_token"],
            "credential": key.get(begun["options"], rp_id="localhost"),
        },
    )  # fmt: skip


# ---------------------------------------------------------------- passkeys
def test_a_passkey_signs_in_alone(alice) -> None:
    key = enrol(alice)
    answer, _ = login(key)
    assert answer.status_code == 200, answer.content
    assert Api(token=answer.json()["access_token"]).get("/auth/me").json()["email"] == "alice@example.com"
    assert [event["method"] for event in published("user.login")] == ["passkey"]


def test_what_is_asked_for_is_discoverable_verified_without_attestation_and_not_personal(alice) -> None:
    enrol(alice)
    options = client_of(alice).post("/auth/webauthn/register/begin", {"kind": "passkey"}).json()["options"]
    assert options["rp"] == {"name": "MindWeave", "id": "localhost"}
    selection = options["authenticatorSelection"]
    assert (selection["residentKey"], selection["userVerification"]) == ("required", "required")
    assert options["attestation"] == "none"
    assert "alice" not in options["user"]["id"]
    assert len(options["excludeCredentials"]) == 1, "the one that is enrolled is excluded"
    begun = Api().post("/auth/webauthn/login/begin").json()["options"]
    assert begun.get("allowCredentials", []) == []
    assert begun["userVerification"] == "required"


def test_the_first_factor_gives_recovery_codes_and_later_ones_none(alice) -> None:
    api = client_of(alice)
    for expected in (10, 0):
        begun = api.post("/auth/webauthn/register/begin", {"kind": "passkey"}).json()
        body = {"challenge_token": begun["challenge_token"], "credential": Key().create(begun["options"])}
        assert len(api.post("/auth/webauthn/register/complete", body).json()["recovery_codes"]) == expected
    assert [event["type"] for event in published("user.mfa.enabled")] == ["passkey", "passkey"]


def test_a_passkey_that_did_not_verify_its_person_neither_enrols_nor_signs_in(alice) -> None:
    enrol(alice, key=Key(verifies=False), expect=400)
    assert not FactorDevice.objects.exists()
    key = enrol(alice)
    key.verifies = False
    assert login(key)[0].status_code == 401
    assert published("user.login") == []


def test_a_security_key_does_not_sign_in_alone(alice) -> None:
    key = enrol(alice, "security_key")
    answer, _ = login(key)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credential")


def test_the_answer_to_a_challenge_works_once(alice) -> None:
    key = enrol(alice)
    answer, body = login(key)
    assert answer.status_code == 200
    again = Api().post("/auth/webauthn/login/complete", body)
    assert (again.status_code, again.json()["code"]) == (401, "challenge_ended")
    assert len(published("user.login")) == 1


def test_a_challenge_lives_for_five_minutes(alice) -> None:
    key = enrol(alice)
    begun = Api().post("/auth/webauthn/login/begin").json()
    with clock.freeze(now() + timedelta(minutes=5, seconds=1)):
        body = {"challenge_token": begun["challenge_token"], "credential": key.get(begun["options"])}
        assert Api().post("/auth/webauthn/login/complete", body).json()["code"] == "challenge_ended"
    assert not Challenge.objects.filter(data__isnull=True).exists()


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost", "http://sub.localhost:8000"])
def test_another_origin_is_refused(alice, origin) -> None:
    key = enrol(alice)
    key.origin = origin
    answer, _ = login(key)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credential")
    enrol(alice, key=Key(origin=origin), expect=400)
    assert FactorDevice.objects.count() == 1


def test_another_sites_credential_is_refused(alice) -> None:
    assert login(enrol(alice), rp_id="evil.example")[0].status_code == 401


def test_a_copied_authenticator_is_refused_and_recorded(alice) -> None:
    key = enrol(alice)
    assert login(key)[0].status_code == 200
    key.counter -= 1
    assert login(key)[0].status_code == 401
    assert len(published("user.login")) == 1
    assert ["copied" in entry.reason for entry in trail("user.login_refused")] == [True]


def test_an_authenticator_that_does_not_count_is_welcome(alice) -> None:
    key = enrol(alice, key=Key(counts=False))
    assert [login(key)[0].status_code for _ in range(2)] == [200, 200]


def test_another_keys_signature_is_refused(alice) -> None:
    key = enrol(alice)
    assert login(Key(id=key.id, handle=key.handle, counter=5))[0].status_code == 401
    assert login(Key(handle=key.handle))[0].status_code == 401, "nor one that nobody enrolled"


def test_a_handle_of_somebody_else_is_refused(alice) -> None:
    key = enrol(alice)
    key.handle = User.objects.get(pk=make_person("bob").id).pk.bytes
    assert login(key)[0].status_code == 401
    key.handle = b""
    assert login(key)[0].status_code == 401


def test_a_credential_is_enrolled_once(alice) -> None:
    key = enrol(alice)
    enrol(User.objects.get(pk=make_person("bob").id), key=Key(id=key.id), expect=400)


def test_a_person_who_was_deactivated_has_no_passkey(alice) -> None:
    key = enrol(alice)
    User.objects.update(is_active=False)
    assert login(key)[0].status_code == 401


@pytest.mark.parametrize("credential", [
    {}, {"response": {}}, {"rawId": "!", "response": {"clientDataJSON": "x"}}, {"rawId": 5, "response": {"a": 1}},
    {"rawId": "AAAA", "response": {"clientDataJSON": "AAAA", "authenticatorData": "AA", "signature": "AA"}},
])  # fmt: skip
def test_rubbish_is_refused_and_no_failure(alice, credential) -> None:
    token = Api().post("/auth/webauthn/login/begin").json()["challenge_token"]
    body = {"challenge_token": token, "credential": credential}
    assert Api().post("/auth/webauthn/login/complete", body).status_code in {400, 401}
    api = client_of(alice)
    token = api.post("/auth/webauthn/register/begin", {"kind": "passkey"}).json()["challenge_token"]
    assert api.post("/auth/webauthn/register/complete", {**body, "challenge_token": token}).status_code == 400


def test_the_login_policy_has_the_last_word_after_a_right_passkey(alice, monkeypatch) -> None:
    key, asked = enrol(alice), []

    class SingleSignOn:
        def refusal(self, email, method):
            asked.append((email, method))
            return PermissionDenied("Sign in through your organisation", code="sso_required")

    monkeypatch.setattr(login_policy, "get", SingleSignOn)
    assert login(key)[0].json()["code"] == "sso_required"
    assert asked == [("alice@example.com", "passkey")]
    assert published("user.login") == []


# ---------------------------------------------------------------- as a second factor
@pytest.mark.parametrize("kind", ["security_key", "passkey"])
def test_a_key_finishes_a_sign_in_with_a_password(alice, kind) -> None:
    key = enrol(alice, kind, Key(verifies=kind == "passkey"))
    answer = second(key, pending())
    assert answer.status_code == 200, answer.content
    assert [event["method"] for event in published("user.login")] == ["password+mfa"]


def test_another_persons_key_does_not_finish_it(alice) -> None:
    enrol(alice, "security_key")
    bob = User.objects.get(pk=make_person("bob").id)
    theirs = enrol(bob, "security_key")
    assert second(theirs, pending()).status_code == 401
    # A challenge that was given to Bob is none of Alice's.
    token = client_of(bob).post("/auth/step-up/begin").json()
    body = {"challenge_token": token["challenge_token"], "credential": theirs.get(token["options"])}
    assert Api().post("/auth/mfa/verify", {"mfa_token": pending(), **body}).json()["code"] == "challenge_ended"
    assert published("user.login") == []


def test_a_recovery_code_stands_in_for_a_key(alice) -> None:
    enrol(alice, "security_key")
    codes = mfa.new_recovery_codes(user=alice)
    answer = Api().post("/auth/mfa/verify", {"mfa_token": pending(), "code": codes[0]})
    assert answer.status_code == 200


# ---------------------------------------------------------------- pages
def test_pages_sign_in_with_a_passkey_and_with_a_key_as_second_step(alice) -> None:
    import json

    passkey = enrol(alice)
    client = Client()
    begun = client.post("/auth/webauthn/login/begin").json()
    form = {"challenge_token": begun["challenge_token"], "credential": json.dumps(passkey.get(begun["options"]))}
    answer = client.post("/login/passkey", {**form, "next": "/welcome"})
    assert answer["Location"] == "/welcome"
    assert client.post("/login/passkey", form).status_code == 400, "once"
    client = Client()
    step = client.post("/login", {"email": "alice@example.com", "password": PASSWORD})
    assert step["Location"] == "/login/code"
    page = client.get("/login/code")
    key = page.context["key"]
    credential = passkey.get(json.loads(key["options"]))
    answer = client.post(
        "/login/code", {"by": "key", "challenge_token": key["token"], "credential": json.dumps(credential)}
    )
    assert answer.status_code == 302, answer.content
    assert [event["method"] for event in published("user.login")] == ["passkey", "password+mfa"]


def test_staff_come_into_the_admin_with_a_key(alice) -> None:
    import json

    User.objects.update(is_staff=True)
    key = enrol(alice, "security_key", Key(verifies=False))
    client = Client()
    sign_in(client, alice)
    page = client.get("/admin/verify/")
    assert client.get("/admin/").status_code == 302
    shown = page.context["key"]
    bad = {"by": "key", "challenge_token": "x", "credential": json.dumps(key.get(json.loads(shown["options"])))}
    assert client.post("/admin/verify/", bad).status_code == 200
    assert client.get("/admin/").status_code == 302
    assert client.post("/admin/verify/", {**bad, "challenge_token": shown["token"]}).status_code == 302
    assert client.get("/admin/").status_code == 200


def test_an_authenticator_row_says_its_name_without_its_secret(alice) -> None:
    enrol(alice, name=" Blue  key ")
    assert str(Authenticator.objects.get(type="webauthn")) == "Blue key"

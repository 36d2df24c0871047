"""Enrolling and removing second factors, over the API and on the Security page."""

import re
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from apps.core import clock
from apps.core.clock import now
from apps.core.tenancy import system_scope
from apps.identity import mfa, selectors
from apps.identity.authentication import forget_sessions
from apps.identity.models import FactorDevice, SignIn, User
from apps.identity.ports import factor_policy
from apps.notify.models import EmailMessage as Mail
from tests.cast import PASSWORD, Api, at_once, make_person, published, sign_in, trail
from tests.identity.test_second_factor import Phone
from tests.identity.test_webauthn import enrol as enrol_key


@pytest.fixture(autouse=True)
def _time_stands_still():
    with clock.freeze(now()):
        yield


@pytest.fixture
def alice(db) -> User:
    return User.objects.get(pk=make_person("alice").id)


def api_of(user: User) -> Api:
    api = Api()
    sign_in(api.client, user)
    return api


def enrol(user: User) -> tuple[Phone, list[str]]:
    begun = api_of(user).post("/auth/mfa/enable", {}).json()
    phone = Phone(begun["secret"])
    answer = api_of(user).post("/auth/mfa/enable", {"enrolment_token": begun["enrolment_token"], "code": phone.code()})
    assert answer.status_code == 201, answer.content
    return phone, answer.json()["recovery_codes"]


def mails() -> list[str]:
    with system_scope("the test reads all mails"):
        return list(Mail.objects.order_by("id").values_list("template", flat=True))


# ---------------------------------------------------------------- the API
def test_an_app_is_enrolled_in_two_requests(alice) -> None:
    begun = api_of(alice).post("/auth/mfa/enable", {})
    assert begun.status_code == 200
    assert begun.json()["otpauth_uri"].startswith("otpauth://totp/")
    assert "<svg" in begun.json()["qr_svg"]
    assert not Authenticator.objects.exists(), "nothing is enrolled by asking"
    phone, codes = enrol(alice)
    assert len(codes) == 10
    assert mails() == ["factor_added"]
    pending = Api().post("/auth/login", {"email": "alice@example.com", "password": PASSWORD}).json()
    answer = Api().post("/auth/mfa/verify", {"mfa_token": pending["mfa_token"], "code": phone.code()})
    assert answer.status_code == 200
    again = api_of(alice).post("/auth/mfa/enable", {})
    assert (again.status_code, again.json()["code"]) == (409, "mfa_enabled")


def test_a_wrong_code_may_be_tried_again_and_a_used_token_not(alice) -> None:
    begun = api_of(alice).post("/auth/mfa/enable", {}).json()
    phone, token = Phone(begun["secret"]), begun["enrolment_token"]
    wrong = api_of(alice).post("/auth/mfa/enable", {"enrolment_token": token, "code": "000000"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "/code")
    bob = User.objects.get(pk=make_person("bob").id)
    theirs = api_of(bob).post("/auth/mfa/enable", {"enrolment_token": token, "code": phone.code()})
    assert theirs.status_code == 400, "somebody else's enrolment is none of theirs"
    assert not Authenticator.objects.exists()
    assert api_of(alice).post("/auth/mfa/enable", {"enrolment_token": token, "code": phone.code()}).status_code == 201
    assert api_of(alice).post("/auth/mfa/enable", {"enrolment_token": token, "code": phone.code()}).status_code == 400


def test_factors_are_listed_renamed_and_removed(alice) -> None:
    enrol(alice)
    enrol_key(alice, "security_key", name="Blue key")
    api = api_of(alice)
    listed = api.get("/auth/mfa/factors").json()
    assert [(each["kind"], each["name"]) for each in listed["data"]] == [
        ("totp", "Authenticator app"), ("security_key", "Blue key"),
    ]  # fmt: skip
    assert listed["recovery_codes_left"] == 10
    key = listed["data"][1]["id"]
    assert api.patch(f"/auth/mfa/factors/{key}", {"name": "  Red   key "}).json()["name"] == "Red key"
    assert api.delete(f"/auth/mfa/factors/{key}").status_code == 204
    assert [each["kind"] for each in api.get("/auth/mfa/factors").json()["data"]] == ["totp"]
    assert mails() == ["factor_added", "factor_added", "factor_removed"]
    assert published("user.mfa.disabled") == [{"user_id": str(alice.pk), "type": "webauthn"}]
    assert api.delete(f"/auth/mfa/factors/{listed['data'][0]['id']}").status_code == 204
    assert not Authenticator.objects.filter(user=alice).exists(), "with the last factor go the recovery codes"
    assert Api().post("/auth/login", {"email": "alice@example.com", "password": PASSWORD}).status_code == 200


def test_another_persons_factor_is_not_there(alice) -> None:
    enrol(alice)
    factor = selectors.factor_list(alice.pk)[0].id
    bob = api_of(User.objects.get(pk=make_person("bob").id))
    assert bob.patch(f"/auth/mfa/factors/{factor}", {"name": "Mine"}).status_code == 404
    assert bob.delete(f"/auth/mfa/factors/{factor}").status_code == 404
    assert selectors.factor_list(alice.pk)[0].name == "Authenticator app"


def test_new_recovery_codes_end_the_old_ones(alice) -> None:
    _, old = enrol(alice)
    new = api_of(alice).post("/auth/mfa/recovery-codes").json()["recovery_codes"]
    assert not set(old) & set(new)
    for code, status in ((old[0], 401), (new[0], 200)):
        pending = Api().post("/auth/login", {"email": "alice@example.com", "password": PASSWORD}).json()
        assert Api().post("/auth/mfa/verify", {"mfa_token": pending["mfa_token"], "code": code}).status_code == status
    assert selectors.recovery_codes_left(alice.pk) == 9
    assert len(trail("user.mfa.recovery_codes")) == 1


def test_the_last_factor_stays_where_an_organisation_requires_one(alice, monkeypatch) -> None:
    class Strict:
        def required_by(self, user_id):
            return "Wonder Looms"

    enrol(alice)
    enrol_key(alice, "security_key")
    monkeypatch.setattr(factor_policy, "get", Strict)
    first, second = (each.id for each in selectors.factor_list(alice.pk))
    assert api_of(alice).delete(f"/auth/mfa/factors/{first}").status_code == 204
    refused = api_of(alice).delete(f"/auth/mfa/factors/{second}")
    assert (refused.status_code, refused.json()["code"]) == (403, "mfa_required_by_org")
    assert FactorDevice.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_who_remove_the_last_two_factors_at_once_one_is_refused(monkeypatch) -> None:
    class Strict:
        def required_by(self, user_id):
            return "Wonder Looms"

    alice = User.objects.get(pk=make_person("alice").id)
    enrol(alice)
    enrol_key(alice, "security_key")
    monkeypatch.setattr(factor_policy, "get", Strict)
    factors = [each.id for each in selectors.factor_list(alice.pk)]
    results = at_once(*(lambda id=id: mfa.remove_factor(user=alice, factor_id=id) for id in factors))
    assert [result is None for result in results].count(True) == 1
    assert FactorDevice.objects.count() == 1


def test_a_passkey_that_is_the_last_way_in_stays(alice) -> None:
    enrol_key(alice)
    User.objects.filter(pk=alice.pk).update(password="!")
    factor = selectors.factor_list(alice.pk)[0].id
    refused = api_of(User.objects.get(pk=alice.pk)).delete(f"/auth/mfa/factors/{factor}")
    assert (refused.status_code, refused.json()["code"]) == (403, "last_way_in")


# ---------------------------------------------------------------- pages
def test_the_page_enrols_an_app_without_a_script_and_shows_the_codes_once(alice) -> None:
    client = Client()
    sign_in(client, alice)
    assert "Only your password protects this account" in client.get("/account/security").content.decode()
    page = client.get("/account/security/app?next=/welcome")
    token = page.context["token"]
    phone = Phone(page.context["enrolment"].secret)
    wrong = client.post("/account/security/app", {"enrolment_token": token, "code": "000000"})
    assert wrong.status_code == 400
    assert wrong.context["enrolment"].secret == phone.secret, "what was scanned stays good"
    done = client.post("/account/security/app", {"enrolment_token": token, "code": phone.code(), "next": "/welcome"})
    codes = re.findall(r"<li><code>(\d+)</code>", done.content.decode())
    assert len(codes) == 10
    assert 'download="mindweave-recovery-codes.txt"' in done.content.decode()
    assert "no-store" in done["Cache-Control"]
    later = client.get("/account/security").content.decode()
    assert not any(code in later for code in codes)
    assert "10 of 10 unused" in later
    assert client.get("/account/security/app")["Location"] == "/account/security"


def test_the_page_renames_and_removes(alice) -> None:
    enrol(alice)
    client = Client()
    sign_in(client, alice)
    factor = selectors.factor_list(alice.pk)[0].id
    client.post(f"/account/security/factors/{factor}/rename", {"name": "Phone"})
    assert selectors.factor_list(alice.pk)[0].name == "Phone"
    asked = client.get(f"/account/security/factors/{factor}/remove").content.decode()
    assert "It is your last second factor" in asked
    assert FactorDevice.objects.exists()
    client.post(f"/account/security/factors/{factor}/remove")
    assert not FactorDevice.objects.exists()


def test_changing_factors_wants_a_fresh_credential(alice) -> None:
    enrol(alice)
    factor = selectors.factor_list(alice.pk)[0].id
    old = Api()
    sign_in(old.client, alice, age=timedelta(minutes=16))
    for method, path in (
        ("POST", "/auth/mfa/enable"), ("POST", "/auth/mfa/recovery-codes"), ("DELETE", f"/auth/mfa/factors/{factor}"),
        ("POST", "/auth/webauthn/register/begin"), ("POST", "/auth/webauthn/register/complete"),
    ):  # fmt: skip
        assert old(method, path, {}).json()["code"] == "step_up_required", path
    for path in (
        "app", "keys/passkey", "recovery-codes", f"factors/{factor}/remove",
    ):  # fmt: skip
        assert old.client.post(f"/account/security/{path}")["Location"].startswith("/account/confirm"), path
    assert FactorDevice.objects.count() == 1
    right = old.post("/auth/step-up", {"password": PASSWORD})
    assert (right.status_code, right.json()["max_age"]) == (200, 900)
    assert old.delete(f"/auth/mfa/factors/{factor}").status_code == 204


def test_a_sign_in_over_the_api_steps_up_too_and_a_refresh_does_not(alice) -> None:
    answer = Api().post("/auth/login", {"email": "alice@example.com", "password": PASSWORD}).json()
    SignIn.objects.update(authenticated_at=now() - timedelta(minutes=16))
    fresh = Api().post("/auth/refresh", {"refresh_token": answer["refresh_token"]}).json()
    api = Api(token=fresh["access_token"])
    assert api.post("/auth/mfa/enable", {}).json()["code"] == "step_up_required"
    assert api.post("/auth/step-up", {"password": "not this one"}).status_code == 401
    assert api.post("/auth/mfa/enable", {}).json()["code"] == "step_up_required"
    assert api.post("/auth/step-up", {"password": PASSWORD}).status_code == 200
    forget_sessions()
    assert api.post("/auth/mfa/enable", {}).status_code == 200
    assert len(trail("user.confirmed")) == 1


def test_a_credential_of_each_kind_steps_up(alice) -> None:
    phone, codes = enrol(alice)
    key = enrol_key(alice, "security_key")
    for body in ({"password": PASSWORD}, {"code": phone.code()}, {"code": codes[0]}):
        assert api_of(alice).post("/auth/step-up", body).status_code == 200
    begun = api_of(alice).post("/auth/step-up/begin").json()
    body = {"challenge_token": begun["challenge_token"], "credential": key.get(begun["options"])}
    assert api_of(alice).post("/auth/step-up", body).status_code == 200
    for wrong in ({"password": "no such thing"}, {"code": "000000"}, body):
        assert api_of(alice).post("/auth/step-up", wrong).status_code == 401
    assert api_of(alice).post("/auth/step-up", {"password": "a", "code": "b"}).status_code == 400
